"""A prompt is checked when it is made; messages say what was expected, what came and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from segany.core.errors import InputError, PromptError
from segany.prompts.prompt import Prompt

CLICK: dict[str, Any] = {"points": [(5, 6)], "labels": [1]}
NAN = float("nan")
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "needs points, boxes or a mask"),
    "flat point": ({"points": (5, 6), "labels": [1]}, "points must be (K, 2)"),
    "three coordinates": ({"points": [(5, 6, 7)], "labels": [1]}, "points must be (K, 2)"),
    "four axes": ({"points": np.zeros((1, 1, 1, 2)), "labels": [1]}, "points must be (K, 2)"),
    "no points": ({"points": np.zeros((0, 2)), "labels": []}, "at least one point"),
    "ragged": ({"points": [[(1, 2)], [(1, 2), (3, 4)]], "labels": [[1], [1, 1]]}, "decode_many"),
    "NaN point": ({"points": [(NAN, 6)], "labels": [1]}, "finite"),
    "infinite box": ({"boxes": (0, 0, float("inf"), 5)}, "finite"),
    "text point": ({"points": [("a", "b")], "labels": [1]}, "real numbers"),
    "no labels": ({"points": [(5, 6)]}, "need labels"),
    "labels alone": ({"labels": [1]}, "labels must come with points"),
    "too many labels": ({"points": [(5, 6)], "labels": [1, 0]}, "one entry per point"),
    "padding label": ({"points": [(5, 6)], "labels": [-1]}, "padding"),
    "corner label": ({"points": [(5, 6), (8, 9)], "labels": [2, 3]}, "box corners"),
    "label 7": ({"points": [(5, 6)], "labels": [7]}, "1 (foreground) or 0 (background)"),
    "half label": ({"points": [(5, 6)], "labels": [0.5]}, "1 (foreground) or 0 (background)"),
    "short box": ({"boxes": (1, 2, 3)}, "boxes must be (4,) or (P, 4)"),
    "xywh box": ({"boxes": (50, 60, 10, 10)}, "x0 < x1"),
    "flat box": ({"boxes": (5, 5, 5, 9)}, "x0 < x1"),
    "other P": ({"points": np.ones((2, 1, 2)), "labels": np.ones((2, 1)), "boxes": np.ones((3, 4))}, "x0 < x1"),
    "P mismatch": (
        {"points": np.ones((2, 1, 2)), "labels": np.ones((2, 1)), "boxes": [(0, 0, 1, 1)] * 3},
        "same number of prompts",
    ),
    "single and batch": ({**CLICK, "boxes": [(0, 0, 1, 1)]}, "same number of prompts"),
    "empty mask": ({"mask": np.zeros((20, 30), bool)}, "empty mask"),
    "label map": ({"mask": np.arange(600).reshape(20, 30)}, "label map"),
    "complex mask": ({"mask": np.ones((20, 30), complex)}, "dtype complex"),
    "flat mask": ({"mask": np.ones(30, bool)}, "at least (h, w)"),
    "colour mask": ({"mask": np.ones((20, 30, 3, 1), bool)}, "(H, W) or (P, H, W)"),
    "NaN logits": ({"mask": np.full((16, 16), NAN, np.float32)}, "finite"),
    "logits axes": ({"mask": np.zeros((2, 3, 16, 16), np.float32)}, "(P, 1, h, w)"),
    "multimask": ({**CLICK, "multimask": "yes"}, 'True, False or "auto"'),
}
OUTSIDE: dict[str, tuple[dict[str, Any], str]] = {
    "left": ({"points": [(-1, 6)], "labels": [1]}, "inside the image"),
    "below": ({"points": [(5, 21)], "labels": [1]}, "inside the image"),
    "second of two": ({"points": [(5, 5), (31, 5)], "labels": [1, 1]}, "31, 5"),
    "box away": ({"boxes": (30, 0, 40, 10)}, "overlap the image"),
    "box above": ({"boxes": (0, -9, 10, 0)}, "overlap the image"),
    "mask transposed": ({"mask": np.ones((30, 20), bool)}, "(H, W) = (20, 30)"),
    "logits of another model": ({"mask": np.zeros((64, 64), np.float32)}, "(16, 16)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_prompts_say_what_to_do(name: str) -> None:
    arguments, said = BAD[name]
    with pytest.raises(PromptError) as caught:
        Prompt(**arguments)
    assert said in str(caught.value)
    assert isinstance(caught.value, InputError) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", OUTSIDE)
def test_prompts_that_do_not_fit_the_image(name: str) -> None:
    arguments, said = OUTSIDE[name]
    prompt = Prompt(**arguments)
    with pytest.raises(PromptError) as caught:
        prompt.check_against((20, 30), 16)
    assert said in str(caught.value) and "; got" in str(caught.value)


def test_edges_and_overhanging_boxes_are_fine() -> None:
    Prompt(points=[(0, 0), (30, 20)], labels=[1, 0], boxes=(-5, -5, 3, 40)).check_against((20, 30), 16)
    Prompt(points=[(4, 4), (4, 4)], labels=[1, 1]).check_against((20, 30), 16)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (CLICK, None),
        ({"points": np.ones((3, 2, 2)), "labels": np.ones((3, 2))}, 3),
        ({"boxes": (0, 0, 1, 1)}, None),
        ({"boxes": [(0, 0, 1, 1)]}, 1),
        ({"mask": np.ones((20, 30), bool)}, None),
        ({"mask": np.ones((4, 20, 30), np.uint8)}, 4),
        ({"mask": np.zeros((1, 16, 16), np.float32)}, None),
        ({"mask": np.zeros((1, 1, 16, 16), np.float16)}, 1),
        ({"mask": np.zeros((5, 16, 16), np.float64)}, 5),
        ({"boxes": [(0, 0, 1, 1)] * 2, "mask": np.zeros((2, 1, 16, 16), np.float32)}, 2),
        ({"boxes": [(0, 0, 1, 1)], "mask": np.zeros((1, 16, 16), np.float32)}, 1),
    ],
)
def test_the_prompt_axis(arguments: dict[str, Any], count: int | None) -> None:
    assert Prompt(**arguments).count == count


@pytest.mark.parametrize(
    ("arguments", "candidates"),
    [
        (CLICK, True),
        ({"points": [(5, 6)], "labels": [0]}, True),
        ({"boxes": (0, 0, 1, 1)}, True),
        ({"points": np.ones((3, 1, 2)), "labels": np.ones((3, 1))}, True),
        ({"points": [(5, 6), (7, 8)], "labels": [1, 0]}, False),
        ({**CLICK, "boxes": (0, 0, 1, 1)}, False),
        ({"mask": np.ones((20, 30), bool)}, False),
        ({**CLICK, "mask": np.zeros((16, 16), np.float32)}, False),
        ({**CLICK, "multimask": False}, False),
        ({**CLICK, "boxes": (0, 0, 1, 1), "multimask": True}, True),
    ],
)
def test_one_click_or_one_box_is_ambiguous(arguments: dict[str, Any], candidates: bool) -> None:
    assert Prompt(**arguments).wants_candidates is candidates


@pytest.mark.parametrize("dtype", [torch.int32, torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_any_real_dtype(dtype: torch.dtype) -> None:
    prompt = Prompt(points=torch.tensor([[5, 6]], dtype=dtype), labels=torch.tensor([1], dtype=dtype))
    assert prompt.points is not None and prompt.points.tolist() == [[5.0, 6.0]]
    assert prompt.labels is not None and prompt.labels.tolist() == [1]
    assert Prompt(points=[torch.tensor([5.0, 6.0])], labels=[True]).count is None


def test_a_prompt_is_read_only_and_keeps_its_own_numbers() -> None:
    given = np.array([[5.0, 6.0]])
    prompt = Prompt(points=given, labels=[1])
    given[:] = 9
    assert prompt.points is not None and prompt.points.tolist() == [[5.0, 6.0]]
    with pytest.raises(ValueError, match="read-only"):
        prompt.points[0] = 1
    with pytest.raises(AttributeError):
        prompt.labels = None  # type: ignore[misc]


def test_integer_masks_are_binary_and_floating_ones_are_logits() -> None:
    binary = Prompt(mask=np.full((20, 30), 255, np.uint8))
    assert binary.has_binary_mask and binary.mask is not None and binary.mask.all()
    logits = Prompt(mask=np.full((16, 16), -3.0))
    assert not logits.has_binary_mask and logits.mask is not None and logits.mask.dtype == np.float32
