"""Groups, layers and learning rates."""

from __future__ import annotations

import copy

import pytest
import torch

from segany.core.errors import OptionError
from segany.modeling.build import build_model
from segany.modeling.presets import PRESETS
from segany.recipes.presets import PROMPTABLE
from segany.training.config import OptimizerConfig, ScheduleConfig
from segany.training.ema import Average
from segany.training.muon import MuonAdamW, is_matrix, orthogonalised
from segany.training.optim import (
    Schedule,
    Spans,
    hold_still,
    layer_of,
    optimizer_of,
    parameter_groups,
    residual_blocks,
    set_drop_path,
    set_rate,
)


def small_vit() -> torch.nn.Module:
    return build_model(PROMPTABLE["vit_b"].shrunk().model)


def test_only_what_is_named_learns_and_what_is_frozen_stays_so() -> None:
    model = small_vit()
    hold_still(model, [])
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.prompt_encoder.requires_grad_(False)
    hold_still(model, ["mask_decoder.iou_prediction_head", "prompt_encoder"])
    learn = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learn and all(name.startswith("mask_decoder.iou_prediction_head") for name in learn)
    with pytest.raises(OptionError, match=r"begins with iou_head\. This model's parts: image_encoder"):
        hold_still(model, ["mask_decoder", "iou_head"])


def test_layers_of_a_vit() -> None:
    blocks = [name for name, _ in residual_blocks(small_vit())]
    assert blocks == ["image_encoder.blocks.0", "image_encoder.blocks.1"]
    expected = {
        "image_encoder.pos_embed": 0,
        "image_encoder.patch_embed.proj.weight": 0,
        "image_encoder.blocks.0.attn.qkv.weight": 1,
        "image_encoder.blocks.1.mlp.lin1.bias": 2,
        "image_encoder.neck.0.weight": 3,
        "mask_decoder.iou_token.weight": 3,
        "prompt_encoder.no_mask_embed.weight": 3,
    }
    assert {name: layer_of(name, blocks) for name in expected} == expected


def test_layers_of_a_convolutional_encoder() -> None:
    blocks = [name for name, _ in residual_blocks(build_model(PRESETS["tiny"]))]
    assert len(blocks) == 13  # twelve of the stages, and the attention in front of the last stage
    assert layer_of("image_encoder.stem.0.weight", blocks) == 0
    assert layer_of("image_encoder.stages.0.0.dw.weight", blocks) == 1
    assert layer_of("image_encoder.downsample.0.1.weight", blocks) == 2
    assert layer_of("image_encoder.stages.1.0.dw.weight", blocks) == 2
    assert layer_of("image_encoder.downsample.2.1.weight", blocks) == 10
    assert layer_of("image_encoder.lateral.0.weight", blocks) == 14


def test_groups_decay_by_layer_and_kind() -> None:
    model = small_vit()
    config = OptimizerConfig(layer_decay=0.5, weight_decay=0.1)
    groups = parameter_groups(model, config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    of = {names[id(p)]: group for group in groups for p in group["params"]}
    assert of.keys() == dict(model.named_parameters()).keys()
    assert of["image_encoder.pos_embed"]["scale"] == 0.125
    assert of["image_encoder.blocks.1.mlp.lin1.weight"]["scale"] == 0.5
    assert of["mask_decoder.iou_token.weight"]["scale"] == 1.0
    assert of["image_encoder.blocks.1.mlp.lin1.weight"]["weight_decay"] == 0.1
    for undecayed in (
        "image_encoder.pos_embed",
        "image_encoder.blocks.0.attn.rel_pos_h",
        "image_encoder.blocks.0.norm1.weight",
    ):
        assert of[undecayed]["weight_decay"] == 0.0
    optimizer = optimizer_of(model, config)
    set_rate(optimizer, 2.0)
    assert sorted({group["lr"] for group in optimizer.param_groups}) == [0.25, 0.5, 1.0, 2.0]


def test_muon_takes_matrices_and_nothing_else() -> None:
    model = build_model(PRESETS["tiny"])
    groups = parameter_groups(model, OptimizerConfig(kind="muon"))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    taken = {names[id(p)] for group in groups if group["matrices"] for p in group["params"]}
    assert {"image_encoder.stages.2.0.lin1.weight", "mask_decoder.transformer.layers.0.mlp.lin2.weight"} <= taken
    left = {name for name, parameter in model.named_parameters() if name not in taken}
    assert all(is_matrix(parameter) for name, parameter in model.named_parameters() if name in taken)
    assert {
        "image_encoder.neck.1.weight",
        "mask_decoder.mask_tokens.weight",
        "prompt_encoder.point_embeddings.0.weight",
    } <= left
    assert not any(group["matrices"] for group in parameter_groups(model, OptimizerConfig()))


@pytest.mark.parametrize("shape", [(3, 64, 96), (2, 40, 160), (1, 160, 40)])
def test_orthogonalised_updates_have_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    update = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(update).float())
    assert float(values.min()) > 0.5
    assert 0.65 < float(values.median()) < 1.2
    assert float(values.max()) < 1.3


def test_muon_agrees_with_the_library() -> None:
    """One matrix, the same gradients: the library's Muon and ours go the same way."""
    draw = torch.Generator().manual_seed(1)
    start = torch.randn(48, 96, generator=draw)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    group = {"params": [ours], "weight_decay": 0.1, "matrices": True}
    mine = MuonAdamW([group], betas=(0.9, 0.98), fused=False)
    set_rate(mine, 1e-2)
    library = torch.optim.Muon([theirs], lr=1e-2, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        gradient = torch.randn(48, 96, generator=draw)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        library.step()
    assert float((ours - start).detach().norm()) > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)


def test_muon_moves_the_rest_like_adamw() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(40, 40), torch.nn.LayerNorm(40))
    twin = torch.nn.Sequential(torch.nn.Linear(40, 40), torch.nn.LayerNorm(40))
    twin.load_state_dict(model.state_dict())
    optimizers = [optimizer_of(m, OptimizerConfig(kind=k)) for m, k in ((model, "muon"), (twin, "adamw"))]
    for one, optimizer in zip((model, twin), optimizers, strict=True):
        set_rate(optimizer, 1e-2)
        one(torch.ones(3, 40)).square().sum().backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        same = torch.equal(parameter, dict(twin.named_parameters())[name])
        assert same == (name != "0.weight")


def test_muon_goes_on_from_its_state() -> None:
    torch.manual_seed(0)
    models = [torch.nn.Linear(32, 32) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    gradients = [(torch.randn(32, 32), torch.randn(32)) for _ in range(4)]

    def advance(model: torch.nn.Linear, optimizer: torch.optim.Optimizer, which: slice) -> None:
        set_rate(optimizer, 1e-2)
        for weight, bias in gradients[which]:
            model.weight.grad, model.bias.grad = weight.clone(), bias.clone()
            optimizer.step()

    config = OptimizerConfig(kind="muon")
    through = optimizer_of(models[0], config)
    advance(models[0], through, slice(0, 4))
    first = optimizer_of(models[1], config)
    advance(models[1], first, slice(0, 2))
    second = optimizer_of(models[1], config)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    advance(models[1], second, slice(2, 4))
    assert torch.equal(models[0].weight, models[1].weight)
    assert torch.equal(models[0].bias, models[1].bias)


def test_frozen_parameters_stay_out() -> None:
    model = small_vit()
    model.image_encoder.requires_grad_(False)  # type: ignore[union-attr,operator]
    held = {id(p) for group in parameter_groups(model, OptimizerConfig()) for p in group["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}


def test_drop_path_grows_and_keeps_the_mean() -> None:
    model = small_vit()
    set_drop_path(model, 0.4)
    assert [block.drop_path for _, block in residual_blocks(model)] == [0.0, 0.4]
    block = residual_blocks(model)[1][1]
    torch.manual_seed(0)
    branch = torch.ones(4000, 1, 1, 1)
    kept = block.thinned(branch)
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
    assert abs(float(kept.mean()) - 1) < 0.05
    block.eval()
    assert block.thinned(branch) is branch


def test_paper_schedule() -> None:
    rate = Schedule(PROMPTABLE["vit_h"].schedule)
    assert rate(0) == pytest.approx(8e-4 / 250)
    assert rate(249) == rate(59_999) == pytest.approx(8e-4)
    assert rate(60_000) == pytest.approx(8e-5)
    assert rate(86_666) == pytest.approx(8e-6)


def test_cosine_and_spans() -> None:
    rate = Schedule(ScheduleConfig(rate=1.0, steps=110, warm_up=10, shape="cosine", final=0.1, milestones=()))
    assert rate(4) == pytest.approx(0.5)
    assert rate(60) == pytest.approx(0.55)
    assert rate(110) == pytest.approx(0.1)
    spans = Spans(((10, 1.0, 0.5), (10, 0.5, 0.1)), warm_up=0)
    assert [spans(0), spans(5), spans(10), spans(15)] == pytest.approx([1.0, 0.75, 0.5, 0.3])


def test_average_follows_and_gives_way() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    average = Average(layer, 0.9)
    torch.nn.init.ones_(layer.weight)
    average.update(layer, step=90)
    assert float(average.weights["weight"]) == pytest.approx(0.1)
    with average.applied(layer):
        assert float(layer.weight.detach()) == pytest.approx(0.1)
    assert float(layer.weight.detach()) == 1.0
