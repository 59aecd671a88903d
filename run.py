"""Set up and run segany with nothing but Python: ``python3 run.py demo | test | check [arguments...]``.

Creates ``.venv`` beside this file, installs what the command needs into it (once; again only when the
project's requirements change), then runs the command there. Further arguments are passed on.

Environment:
  SEGANY_TORCH_INDEX   package index to take torch from, for example the CPU index named by PyTorch's
                       install page; unset, pip decides.
  CI=true              refuse a torch build that would pull several gigabytes of CUDA packages.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "segany needs Python 3.11 or newer; this is Python %d.%d (%s). Run this script with a newer one, "
        "for example: python3.11 run.py demo" % (sys.version_info[0], sys.version_info[1], sys.executable)
    )

import ast
import hashlib
import os
import re
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
CONSTRAINTS = ROOT / "constraints.txt"
STAMP = VENV / ".segany-stamp"
EXTRAS = {"demo": "", "test": "test", "check": "dev"}
"""Extra of pyproject.toml that each command needs; each one contains those before it."""


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in EXTRAS:
        print(__doc__, file=sys.stderr)
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    command, rest = arguments[0], arguments[1:]
    prepare(EXTRAS[command])
    build_page()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg", "PYTHONUTF8": "1"}
    if command == "demo":
        return call([PYTHON, "-m", "segany", "demo", *rest], environment)
    environment.setdefault("OMP_NUM_THREADS", "1")  # two workers, one thread each
    if command == "test":
        return call([PYTHON, "-m", "pytest", "-n", "2", *rest], environment)
    return check(rest, environment)


def check(rest: list[str], environment: dict[str, str]) -> int:
    """Every quick check, all of them even when one fails; the exit code is the worst."""
    steps = [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["pytest", "-q", "tests/arch", *rest],
    ]
    codes = []
    for step in steps:
        print("$ " + " ".join(step), flush=True)
        codes.append(call([PYTHON, "-m", *step], environment))
    return max(codes)


def prepare(extra: str) -> None:
    """Create the environment and install the package with this extra, unless the stamp says it is there."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + CONSTRAINTS.read_bytes()).hexdigest()
    stamped = STAMP.read_text().split() if STAMP.exists() else []
    have = stamped[1:] if stamped[:1] == [wanted] else []
    if PYTHON.exists() and (extra or "base") in have:
        return
    create_environment()
    install_torch()
    install_package(extra)
    includes = {"": ["base"], "test": ["base", "test"], "dev": ["base", "test", "dev"]}[extra]
    STAMP.write_text("\n".join([wanted, *sorted(set(have) | set(includes))]) + "\n")


def build_page() -> None:
    """The page of `segany serve`, where Node is there to build it; without, everything else still works."""
    script = ROOT / "web" / "build.py"
    if script.exists():
        subprocess.run([PYTHON, script], stdout=subprocess.DEVNULL)


def create_environment() -> None:
    if PYTHON.exists():
        return
    say("creating the environment in .venv")
    try:
        venv.create(VENV, with_pip=True, clear=VENV.exists())
    except subprocess.CalledProcessError:
        sys.exit(
            "could not create .venv with pip in it. On Debian and Ubuntu the module is a package of its own: "
            "apt install python3-venv. Then run this again."
        )


def install_torch() -> None:
    """torch first and through pip, which knows the user's own wheels and index; uv then leaves it alone."""
    if subprocess.run([PYTHON, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode == 0:
        return
    say("installing torch (the largest download)")
    index = os.environ.get("SEGANY_TORCH_INDEX")
    install = [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", CONSTRAINTS]
    install += ["--index-url", index] if index else []
    if os.environ.get("CI") == "true":
        require([*install, "--no-deps", "torch"])
        refuse_cuda()
    require([*install, "torch"])


def refuse_cuda() -> None:
    """On CI, stop before a CUDA build drags its libraries in."""
    script = "import importlib.metadata as m; print(m.requires('torch') or [])"
    listed = ast.literal_eval(subprocess.check_output([PYTHON, "-c", script], text=True))
    heavy = [r for r in listed if re.match(r"(nvidia|cuda)", r) and "extra ==" not in r]
    if heavy and sys.platform == "linux":
        subprocess.run([PYTHON, "-m", "pip", "uninstall", "-q", "-y", "torch"], check=False)
        sys.exit(
            "CI=true and pip chose a CUDA build of torch, which needs "
            + ", ".join(sorted(heavy)[:3])
            + " and more. Point SEGANY_TORCH_INDEX at the CPU index named by PyTorch's install page, "
            "or give pip a folder with a CPU wheel (PIP_FIND_LINKS)."
        )


def install_package(extra: str) -> None:
    target = "." + ("[" + extra + "]" if extra else "")
    say("installing segany" + (" and what the " + extra + " commands need" if extra else ""))
    pip = [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", CONSTRAINTS]
    if call([*pip, "uv"], dict(os.environ)) == 0:
        uv = [PYTHON, "-m", "uv", "pip", "install", "-q", "--python", PYTHON, "-c", CONSTRAINTS]
        if call([*uv, "--only-binary", ":all:", "--no-binary", "segany", "-e", target], uv_environment()) == 0:
            return
        say("uv could not do it; once more with pip")
    require([*pip, "-e", target])


def uv_environment() -> dict[str, str]:
    """uv does not read pip's settings; hand it the ones that matter."""
    environment = dict(os.environ)
    listing = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    settings = dict(re.findall(r"^(?:\w+|:env:)\.([\w-]+)='(.*)'$", listing, flags=re.MULTILINE))
    names = {
        "find-links": "UV_FIND_LINKS",
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "cert": "SSL_CERT_FILE",
    }
    for name, variable in names.items():
        value = os.environ.get("PIP_" + name.upper().replace("-", "_")) or settings.get(name)
        if value:
            separator = "," if name == "find-links" else " "
            environment.setdefault(variable, separator.join(value.replace("\\n", " ").split()))
    if "UV_INDEX" in environment:
        environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # pip's own rule for several indexes
    return environment


def say(text: str) -> None:
    print("run.py: " + text, file=sys.stderr, flush=True)


def call(command: list, environment: dict[str, str]) -> int:
    return subprocess.run([str(part) for part in command], cwd=ROOT, env=environment).returncode


def require(command: list) -> None:
    if call(command, dict(os.environ)) != 0:
        sys.exit("run.py: installation failed (see above). To retry, run the same command again.")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
