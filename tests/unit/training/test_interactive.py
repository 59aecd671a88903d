"""The promptable step: mixed prompts equal separate ones, the encoder runs once, options change memory only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from segany.core.errors import OptionError
from segany.modeling.build import build_model
from segany.modeling.canvas import at_canvas
from segany.modeling.sam import Sam
from segany.prompts.config import SimulationConfig
from segany.prompts.simulate import Draws, first_prompt
from segany.recipes.presets import PROMPTABLE
from segany.training import interactive
from segany.training.batches import PromptableBatch, PromptableSource, Stretch
from segany.training.config import BatchConfig, InteractiveConfig, LossConfig
from segany.training.interactive import InteractiveStep
from segany.training.optim import set_recompute

CANVAS = 64
SIMULATION = SimulationConfig(clicks=2, refine_inside=1, refine_last=1)


@pytest.fixture
def model() -> Sam:
    torch.manual_seed(0)
    return build_model(PROMPTABLE["toy"].shrunk().model)


def batch(simulation: SimulationConfig = SIMULATION, stride: int = 4) -> PromptableBatch:
    config = BatchConfig(images=3, masks_per_image=3, synthetic=1.0, min_share=0.01, mask_stride=stride)
    stretch = Stretch(1, CANVAS, config, simulation)
    made = PromptableSource([], [stretch], seed=1, pixel_mean=(120,) * 3, pixel_std=(60,) * 3)
    return made(0)[0]


def gradients(model: Sam) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def test_the_encoder_runs_once_and_everything_learns(model: Sam) -> None:
    calls = []
    model.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    loss = LossConfig(losers=0.1, iou_on="all")
    InteractiveStep(InteractiveConfig(loss=loss))(model, batch()).loss.backward()
    assert len(calls) == 1
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # Key biases shift all of a query's scores alike, so that nothing can be learnt from them.
    assert [name for name in silent if "k_proj.bias" not in name and "rel_pos" not in name] == []


def test_mixed_prompts_equal_separate_ones(model: Sam) -> None:
    points = torch.tensor([[[20.0, 30.0], [0.0, 0.0]], [[5.0, 8.0], [40.0, 50.0]]])
    labels = torch.tensor([[1, -1], [2, 3]])
    embeddings = model.encode(batch().pixels[:1])
    low_res, iou = model.decode(embeddings, points=points, labels=labels, pad_points=False)
    point = model.decode(embeddings, points=points[:1, :1], labels=labels[:1, :1])
    box = model.decode(embeddings, boxes=points[1:].reshape(1, 4))
    assert torch.allclose(low_res, torch.cat([point[0], box[0]]), atol=1e-4)
    assert torch.allclose(iou, torch.cat([point[1], box[1]]), atol=1e-4)


@pytest.mark.parametrize("change", ["encoder", "decoder"])
def test_recomputing_changes_no_gradient(model: Sam, change: str) -> None:
    InteractiveStep(InteractiveConfig())(model, batch()).loss.backward()
    plain = gradients(model)
    set_recompute(model, change == "encoder")
    InteractiveStep(InteractiveConfig(recompute_decoder=change == "decoder"))(model, batch()).loss.backward()
    again = gradients(model)
    assert plain.keys() == again.keys()
    assert all(torch.allclose(plain[name], again[name], atol=1e-4) for name in plain)


def test_rounds_add_or_average(model: Sam) -> None:
    mean = InteractiveStep(InteractiveConfig())(model, batch()).loss
    summed = InteractiveStep(InteractiveConfig(loss=LossConfig(over_rounds="sum")))(model, batch()).loss
    assert float(summed.detach()) == pytest.approx(SIMULATION.rounds * float(mean.detach()), rel=1e-4)


def test_the_first_prompt_may_weigh_more(model: Sam) -> None:
    plain, first, none = (
        float(InteractiveStep(InteractiveConfig(loss=LossConfig(first=weight)))(model, batch()).loss.detach())
        for weight in (1.0, 3.0, 0.0)
    )
    assert first > plain > none > 0
    assert first - plain == pytest.approx(2 * (plain - none), rel=1e-4)


def test_clicks_that_fall_together_are_all_there(model: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    whole = interactive.decode

    def noted(*parts: Any, labels: Tensor, **more: Any) -> tuple[Tensor, Tensor]:
        seen.append((int((labels[0] != -1).sum()), labels.shape[1]))
        return whole(*parts, labels=labels, **more)

    monkeypatch.setattr(interactive, "decode", noted)
    simulation = SimulationConfig(point_share=1.0, clicks=3, at_once=(1, 3), refine_inside=0, refine_last=1)
    InteractiveStep(InteractiveConfig())(model, batch(simulation))
    assert [clicks for clicks, _ in seen] == [1, 2, 5, 6, 6]
    assert all(tokens == clicks + 1 for clicks, tokens in seen), "one padding point, and no other filling"


def test_first_clicks_may_fall_in_the_middle() -> None:
    target = torch.zeros(2, 16, 16, dtype=torch.bool)
    target[0, 2:7, 4:9] = True
    target[1, 9:12, 1:14] = True
    config = SimulationConfig(point_share=1.0, centre=1.0)
    prompt = first_prompt(target, 4, config, Draws.from_seeds([0], [2]))
    assert prompt.points[0, 0].tolist() == [25.5, 17.5], "the middle of cell 6, 4"
    assert prompt.points[1, 0, 1] == 41.5
    half = replace(config, centre=0.5)
    many = first_prompt(target[:1].expand(200, -1, -1), 4, half, Draws.from_seeds([0], [200]))
    middle = (many.points[:, 0] == torch.tensor([25.5, 17.5])).all(dim=1)
    assert 0.35 < float(middle.float().mean()) < 0.65


def test_clicks_fall_in_numbers_of_one_or_more() -> None:
    with pytest.raises(OptionError, match="at_once"):
        SimulationConfig(at_once=(2, 0))


def test_masks_at_full_resolution_train_too(model: Sam) -> None:
    fine, coarse = (
        InteractiveStep(InteractiveConfig())(model, batch(stride=stride)).loss.detach() / batch(stride=stride).weight
        for stride in (1, 4)
    )
    assert float(fine) == pytest.approx(float(coarse), rel=0.2)


def test_a_prompt_costs_the_same_in_any_company(model: Sam) -> None:
    whole = batch()
    step = InteractiveStep(InteractiveConfig())
    together = step(model, whole).loss
    alone = []
    for view in range(whole.images):
        rows = whole.image_index == view
        part = replace(
            whole,
            pixels=whole.pixels[view : view + 1],
            masks=whole.masks[rows],
            image_index=torch.zeros(int(rows.sum()), dtype=torch.long),
            seeds=whole.seeds[view : view + 1],
            counts=whole.counts[view : view + 1],
        )
        alone.append(step(model, part).loss)
    assert float(together.detach()) == pytest.approx(float(sum(alone).detach()), rel=1e-4)  # type: ignore[union-attr]


def test_only_convolutional_models_change_their_canvas(model: Sam) -> None:
    with pytest.raises(OptionError, match="own canvas"):
        at_canvas(model, 128)
    tiny = build_model(PROMPTABLE["tiny"].shrunk().model)
    before = tiny.config.canvas
    assert at_canvas(tiny, 64).config.canvas == 64
    assert tiny.encode(torch.zeros(1, 3, 64, 64)).shape[-1] == 4
    assert at_canvas(tiny, before).config.canvas == before
