"""What is committed: no machine's paths, no private registry, no stray files; README's promises hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ._sources import ROOT

TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".json",
    ".yml",
    ".yaml",
    ".sh",
    ".cfg",
    ".ts",
    ".js",
    ".html",
    ".css",
    "",
}
MACHINE_PATH = re.compile(r"(?<![\w.~/:-])/(?:work|root|home/\w+|Users/\w+)(?=[/\s\"'`),:]|$)")
REGISTRY = re.compile(r"https?://[^\s\"']*/simple\b|--(?:extra-)?index-url[= ]+https?:", re.IGNORECASE)
LARGEST = 35_000_000


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: what is committed cannot be told")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_files() -> list[Path]:
    return [path for path in tracked() if path.suffix in TEXT and path.stat().st_size < 2_000_000]


def test_no_machine_paths_and_no_registries() -> None:
    wrong = []
    for path in text_files():
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if MACHINE_PATH.search(line) or REGISTRY.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not wrong, "\n".join(wrong)


def test_the_path_pattern_has_teeth() -> None:
    assert MACHINE_PATH.search('open("/' + 'root/x")')
    assert MACHINE_PATH.search("cd /" + "work")
    assert not MACHINE_PATH.search("a/root/b and https://example.org/work")


def test_no_large_or_generated_files() -> None:
    large = [str(p.relative_to(ROOT)) for p in tracked() if p.stat().st_size > LARGEST]
    assert not large, f"over {LARGEST} bytes: {large}"
    stray = [str(p.relative_to(ROOT)) for p in tracked() if {"__pycache__", ".venv", "out", "runs"} & set(p.parts)]
    assert not stray, stray


def test_constraints_are_pins_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines if line)
    assert "torch==2.13.0" in lines


def test_run_script_refuses_an_old_python_before_anything_else() -> None:
    source = (ROOT / "run.py").read_text(encoding="utf-8")
    assert source.index("sys.version_info < (3, 11)") < source.index("import ast")
    compile(source, "run.py", "exec")
    assert ":=" not in source and "match " not in source, "syntax an old Python cannot parse hides the message"


def test_readme_shows_the_two_commands_first() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", readme, flags=re.DOTALL)
    assert blocks, "README has no shell example"
    assert "python3 run.py demo" in blocks[0]
    assert "python3 run.py test" in blocks[0]


def test_readme_commands_exist() -> None:
    """Every ``segany ...`` line of README names a command and options that the program has."""
    from segany.cli.app import app

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [
        line.split("#")[0].strip()
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", readme, flags=re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip().startswith("segany ")
    ]
    assert lines
    for line in lines:
        _, bound, unused, _ = app.parse_known_args(line.split()[1:])
        assert bound is not None
        assert not unused, f"README: {line!r} has what the program does not know: {unused}"


def test_readme_python_is_valid() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")
