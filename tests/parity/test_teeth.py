"""The comparison can fail: each classic mistake, made on purpose, shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segany.modeling import vit
from segany.modeling.prompt_encoder import PromptEncoder
from segany.modeling.sam import Sam
from segany.modeling.two_way import TwoWayAttentionBlock

from ._oracle import (
    SHAPES,
    TOLERANCE,
    Outputs,
    filled_model,
    our_outputs,
    random_pixels,
    their_outputs,
    through_hf,
    worst,
)

pytest.importorskip("transformers", reason="the oracle is transformers: pip install 'segany[test]'")

CONFIG = SHAPES[0]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sam, Outputs]:
    """Our model and what transformers computes with its weights."""
    model = filled_model(CONFIG)
    folder: Path = tmp_path_factory.mktemp("hf")
    return model, their_outputs(through_hf(model, folder), CONFIG, random_pixels(CONFIG))


def swap_relative_positions(patch: pytest.MonkeyPatch) -> None:
    right = vit.Attention._relative

    def swapped(self: vit.Attention, table: Tensor, size: int) -> Tensor:
        other = self.rel_pos_w if table is self.rel_pos_h else self.rel_pos_h
        return right(self, other, size)

    patch.setattr(vit.Attention, "_relative", swapped)


def mask_window_padding(patch: pytest.MonkeyPatch) -> None:
    padding: list[Tensor] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        bias = (rows.unsqueeze(-1) + columns.unsqueeze(-2)).flatten(4).flatten(2, 3)
        bias = bias.masked_fill(padding[0][:, None, None, :], -1e9)
        out = torch.nn.functional.scaled_dot_product_attention(q.flatten(2, 3), k, v, attn_mask=bias)
        return out.reshape(q.shape)

    forward = vit.Attention.forward

    def masked(self: vit.Attention, x: Tensor) -> Tensor:
        padding[:] = [(x == 0).all(-1).flatten(1)]
        return forward(self, x)

    patch.setattr(vit.Attention, "forward", masked)
    patch.setattr(vit, "_attend", attend)


def drop_pixel_centre(patch: pytest.MonkeyPatch) -> None:
    right = PromptEncoder._unit
    patch.setattr(PromptEncoder, "_unit", lambda self, canvas_xy: right(self, canvas_xy - 0.5))


def drop_padding_token(patch: pytest.MonkeyPatch) -> None:
    right = PromptEncoder._embed_points
    patch.setattr(PromptEncoder, "_embed_points", lambda self, points, labels, pad: right(self, points, labels, False))


def add_first_residual(patch: pytest.MonkeyPatch) -> None:
    right = TwoWayAttentionBlock.attend_self

    def residual(self: TwoWayAttentionBlock, tokens: Tensor, token_pe: Tensor, mask: Tensor | None) -> Tensor:
        out = right(self, tokens, token_pe, mask)
        return tokens + out if self.first else out

    patch.setattr(TwoWayAttentionBlock, "attend_self", residual)


MUTATIONS = (
    swap_relative_positions,
    mask_window_padding,
    drop_pixel_centre,
    drop_padding_token,
    add_first_residual,
)


def test_without_mutation_they_agree(pair: tuple[Sam, Outputs]) -> None:
    model, theirs = pair
    gap, where = worst(our_outputs(model, random_pixels(CONFIG)), theirs)
    assert gap <= TOLERANCE, where


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_mutation_is_caught(
    mutation: Callable[[pytest.MonkeyPatch], None], pair: tuple[Sam, Outputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, theirs = pair
    mutation(monkeypatch)
    gap, _ = worst(our_outputs(model, random_pixels(CONFIG)), theirs)
    assert gap > 100 * TOLERANCE
