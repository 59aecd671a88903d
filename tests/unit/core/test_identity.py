from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from segany.core import errors
from segany.core.device import resolve_device, resolve_dtype
from segany.core.identity import fingerprint, git_revision, run_identity
from segany.core.optional import require
from segany.core.progress import check_cancelled
from segany.core.seeds import seed_everything


def test_fingerprint_ignores_order_and_sees_every_change() -> None:
    tensors = {"a": torch.ones(2, 3), "b": torch.zeros(4)}
    base = fingerprint({"x": 1, "y": [2]}, tensors)
    assert base == fingerprint({"y": [2], "x": 1}, dict(reversed(tensors.items())))
    assert base != fingerprint({"x": 1, "y": [3]}, tensors)
    assert base != fingerprint({"x": 1, "y": [2]}, {**tensors, "b": torch.zeros(2, 2)})
    assert base != fingerprint({"x": 1, "y": [2]}, {**tensors, "b": torch.zeros(4, dtype=torch.bfloat16)})
    changed = {**tensors, "a": tensors["a"].clone()}
    changed["a"][0, 0] += 1e-7
    assert base != fingerprint({"x": 1, "y": [2]}, changed)


def test_fingerprint_takes_sets_and_numpy_but_nothing_vague() -> None:
    assert fingerprint({"x": {"b", "a"}}) == fingerprint({"x": ["a", "b"]})
    assert fingerprint({"x": np.float64(0.5), "y": np.arange(2)}) == fingerprint({"x": 0.5, "y": [0, 1]})
    with pytest.raises(TypeError, match=r"plain values.*got object"):
        fingerprint({"x": object()})


def test_fingerprint_sees_values_not_memory_layout() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    assert fingerprint({}, {"a": tensor.T}) == fingerprint({}, {"a": tensor.T.contiguous()})
    assert fingerprint({}, {"a": tensor}) != fingerprint({}, {"a": tensor.reshape(3, 2)})
    assert fingerprint({}, {"a": torch.empty(0)}) != fingerprint({}, {"b": torch.empty(0)})


def test_revision_says_whether_the_checkout_has_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    source = tmp_path / "src" / "segany" / "core" / "identity.py"
    source.parent.mkdir(parents=True)
    source.write_text("one")
    monkeypatch.setattr("segany.core.identity.__file__", str(source))
    assert git_revision() is None
    git("init", "-q")
    assert git_revision() is None
    git("add", ".")
    git("commit", "-q", "-m", "one", "--no-verify")
    assert git_revision() == git("rev-parse", "HEAD")
    source.write_text("two")
    assert git_revision() == git("rev-parse", "HEAD") + "+changes"


def test_seeds_repeat_every_generator() -> None:
    draws = []
    for _ in range(2):
        seed_everything(2**40 + 7)
        draws.append((random.random(), np.random.rand(), torch.rand(2).tolist()))  # noqa: NPY002
    assert draws[0] == draws[1]
    seed_everything(8)
    assert random.random() != draws[0][0]


def test_the_ground_floors_load_without_torch() -> None:
    rooms = (
        "core.device core.identity core.seeds core.files geometry.frames geometry.boxes geometry.crops geometry.grids"
    )
    code = f"import sys, {', '.join('segany.' + m for m in rooms.split())}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_run_identity_names_versions() -> None:
    identity = run_identity()
    assert identity["torch"] == str(torch.__version__)
    assert identity["segany"]


def test_missing_extra_says_how_to_install() -> None:
    with pytest.raises(errors.MissingDependencyError, match=r"pip install 'segany\[export\]'"):
        require("no_such_library_at_all", "export")
    assert require("json", "export").dumps([1]) == "[1]"


def test_error_tree() -> None:
    for kind in (errors.PromptError, errors.ImageError, errors.OptionError, errors.DataError):
        assert issubclass(kind, errors.InputError)
        assert issubclass(kind, ValueError)
    assert issubclass(errors.MissingDependencyError, ImportError)
    with pytest.raises(errors.Cancelled):
        check_cancelled(lambda: True)
    check_cancelled(lambda: False)
    check_cancelled(None)


@pytest.mark.parametrize("name", ["gpu", "cuda:99x", "cuda:99", "cpu:1", "meta", "tpu!", "", None])
def test_impossible_devices_are_named(name: str) -> None:
    with pytest.raises(errors.OptionError, match="device must be"):
        resolve_device(name)


def test_devices_that_are_there() -> None:
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert resolve_device().type == expected


def test_precisions() -> None:
    cpu = resolve_device("cpu")
    assert resolve_dtype("auto", cpu) is torch.float32
    assert resolve_dtype("bfloat16", "cpu") is torch.bfloat16
    with pytest.raises(errors.OptionError, match="float16 needs a GPU"):
        resolve_dtype("float16", cpu)
    with pytest.raises(errors.OptionError, match="dtype must be"):
        resolve_dtype("int8", cpu)
