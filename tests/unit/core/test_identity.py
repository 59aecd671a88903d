from __future__ import annotations

import pytest
import torch

from segany.core import errors
from segany.core.device import resolve_device, resolve_dtype
from segany.core.identity import fingerprint, run_identity
from segany.core.optional import require
from segany.core.progress import check_cancelled


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


@pytest.mark.parametrize("name", ["gpu", "cuda:99x", "tpu!", ""])
def test_impossible_devices_are_named(name: str) -> None:
    with pytest.raises(errors.OptionError, match="device must be"):
        resolve_device(name)


def test_precisions() -> None:
    cpu = resolve_device("cpu")
    assert resolve_dtype("auto", cpu) is torch.float32
    assert resolve_dtype("bfloat16", cpu) is torch.bfloat16
    with pytest.raises(errors.OptionError, match="float16 needs a GPU"):
        resolve_dtype("float16", cpu)
    with pytest.raises(errors.OptionError, match="dtype must be"):
        resolve_dtype("int8", cpu)
