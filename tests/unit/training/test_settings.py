"""Configs to and from JSON, and what differs."""

from __future__ import annotations

import json

import pytest

from segany.core.errors import OptionError
from segany.recipes.config import PromptableConfig
from segany.recipes.presets import PROMPTABLE
from segany.training.settings import differences, from_plain, to_plain


@pytest.mark.parametrize("name", sorted(PROMPTABLE))
def test_round_trip(name: str) -> None:
    config = PROMPTABLE[name]
    assert from_plain(PromptableConfig, json.loads(json.dumps(to_plain(config)))) == config


def test_part_of_a_config_changes_that_part() -> None:
    base = PROMPTABLE["tiny"]
    changed = from_plain(PromptableConfig, {"batch": {"masks_per_image": 4}, "optimizer": {"clip": None}}, base=base)
    assert changed.batch.masks_per_image == 4 and changed.optimizer.clip is None
    assert changed.batch.weights == base.batch.weights
    assert changed.phases == base.phases


def test_every_problem_is_named_at_once() -> None:
    value = {"speed": 3, "batch": {"images": "many"}, "optimizer": {"layer_decay": 2}, "loop": {"precision": "int4"}}
    with pytest.raises(OptionError, match=r"(?s)^(?=.*speed)(?=.*batch\.images)(?=.*layer_decay)(?=.*loop\.precision)"):
        from_plain(PromptableConfig, value, base=PROMPTABLE["toy"])


def test_differences_name_the_field() -> None:
    old = {"a": {"b": [1, 2]}, "c": 1}
    assert differences(old, old) == []
    assert differences(old, {"a": {"b": [1, 3]}}) == ["a.b[1]: 2 → 3", "c: 1 → '(absent)'"]


def test_paper_numbers() -> None:
    """Segment Anything, appendix A: the training recipe."""
    for name, rate, steps, images, layer_decay, drop_path in (
        ("vit_h", 8e-4, 90_000, 256, 0.8, 0.4),
        ("vit_l", 4e-4, 180_000, 128, 0.8, 0.4),
        ("vit_b", 8e-4, 180_000, 128, 0.6, 0.6),
    ):
        config = PROMPTABLE[name]
        assert (config.schedule.rate, config.schedule.steps, config.batch.images) == (rate, steps, images)
        assert (config.optimizer.layer_decay, config.optimizer.drop_path) == (layer_decay, drop_path)
        assert config.optimizer.weight_decay == 0.1 and config.optimizer.betas == (0.9, 0.999)
        assert config.schedule.warm_up == 250
        assert (config.step.loss.focal, config.step.loss.dice, config.step.loss.iou) == (20, 1, 1)
        assert config.step.simulation.rounds == 11
        assert config.batch.masks_per_device == 64 and config.batch.max_share == 0.9
        assert config.batch.view.jitter == (0.1, 2.0) and config.batch.automatic_view.jitter is None
