"""Mixtures of weights are sums of them, scored on watched photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from segany.modeling.build import build_model
from segany.modeling.checkpoints.load import load_model
from segany.modeling.checkpoints.save import save_model
from segany.modeling.presets import TOY, VIT_T


def saved(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    return save_model(build_model(TOY).state_dict(), TOY, folder / f"{seed}.safetensors")


@pytest.fixture
def script(script_of: Callable[[str], ModuleType]) -> ModuleType:
    return script_of("mix_weights")


def test_a_mixture_is_the_weighted_sum(script: ModuleType, tmp_path: Path) -> None:
    one, other = saved(tmp_path, 1), saved(tmp_path, 2)
    found = script.mixed(f"0.25*{one}+0.75*{other}").state_dict()
    a, b = (load_model(path).model.state_dict() for path in (one, other))
    assert all(torch.allclose(found[name], 0.25 * a[name] + 0.75 * b[name]) for name in a)
    assert all(torch.equal(script.mixed(str(one)).state_dict()[name], a[name]) for name in a)


def test_models_that_do_not_mix_are_refused(
    script: ModuleType, tmp_path: Path, packs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = saved(tmp_path, 1)
    other = save_model(build_model(VIT_T).state_dict(), VIT_T, tmp_path / "t.safetensors")
    for text, words in ((f"half*{toy}", "FACTOR"), (f"0.5*{toy}+0.5*{other}", "belongs to another")):
        assert script.main([text, "--data", str(packs_root)]) == 2
        assert words in capsys.readouterr().err


def test_every_model_gets_a_line_and_the_last_is_kept(
    script: ModuleType, tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = saved(tmp_path, 1), saved(tmp_path, 2)
    words = [str(one), f"0.5*{one}+0.5*{other}", "--data", str(shared / "data"), "--masks", "1"]
    assert script.main([*words, "--write", str(tmp_path / "kept.safetensors")]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["oracle_1", "clicks_1"]
    assert all(len(line.split()) == 10 for line in (first, second)) and second.endswith(words[1])
    kept, mixed = load_model(tmp_path / "kept.safetensors").model, script.mixed(words[1])
    assert all(torch.equal(tensor, kept.state_dict()[name]) for name, tensor in mixed.state_dict().items())
