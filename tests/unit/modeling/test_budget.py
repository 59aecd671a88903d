"""What `tiny` may cost: the budget of the browser and of automatic masks, in 2 x multiply-adds."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from segany.modeling.build import build_model
from segany.modeling.presets import TINY

ENCODER_FLOPS = 6e9
DECODE_FLOPS = 0.3e9
# fused attention kernels are not counted everywhere; plain products are
COUNTABLE = SDPBackend.MATH


def test_encoder() -> None:
    model = build_model(TINY).eval()
    with torch.no_grad(), sdpa_kernel(COUNTABLE), FlopCounterMode(display=False) as counter:
        model.encode(torch.zeros(1, 3, TINY.canvas, TINY.canvas))
    assert 0 < counter.get_total_flops() <= ENCODER_FLOPS


def test_decoding_one_click() -> None:
    model = build_model(TINY).eval()
    embedding = torch.zeros(1, TINY.channels, TINY.grid, TINY.grid)
    with torch.no_grad(), sdpa_kernel(COUNTABLE), FlopCounterMode(display=False) as counter:
        model.decode(embedding, points=torch.zeros(1, 1, 2), labels=torch.ones(1, 1, dtype=torch.int64))
    assert 0 < counter.get_total_flops() <= DECODE_FLOPS
