"""Every example of docs/guide.md runs, and both spellings of it give the same masks."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from segany.predict.predictor import Predictor

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guide.md"
SIZES = {"truck.jpg": (1200, 1800), "groceries.jpg": (400, 680), "dog.jpg": (64, 96)}
EXAMPLES = {
    "Selecting an object: one click": (3, 1200, 1800),
    "Refining: two clicks and the previous logits": (1, 1200, 1800),
    "Leaving something out: a background click": (1, 1200, 1800),
    "A box": (1, 1200, 1800),
    "A point and a box together": (1, 1200, 1800),
    "Four boxes at once": (4, 1, 1200, 1800),
    "Two photos at once": None,
    "Everything in a photo": None,
    "Everything, with other settings": None,
}


def sections() -> dict[str, list[str]]:
    """Heading -> its two python blocks."""
    parts = re.split(r"^## (.+)$", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        heading: re.findall(r"```python\n(.*?)```", body, flags=re.DOTALL)
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.fixture(scope="module")
def sure(toy_predictor: Predictor) -> Predictor:
    """The toy with steep masks, so that some are stable enough for the generator's defaults."""
    model = copy.deepcopy(toy_predictor.model)
    with torch.no_grad():
        for head in model.mask_decoder.output_hypernetworks_mlps.parameters():
            head.mul_(4.0)
    return Predictor(model, device="cpu")


@pytest.fixture(scope="module")
def results(
    sure: Predictor,
    scene: Callable[[int, int], NDArray[np.uint8]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Any, Any]]:
    """Each example's masks in both spellings; the toy model stands in for ViT-H."""
    folder = tmp_path_factory.mktemp("photos")
    for name, size_hw in SIZES.items():
        Image.fromarray(scene(*size_hw)).save(folder / name)
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Predictor, "from_pretrained", lambda name, **options: sure)
        for heading, (own, other) in sections().items():
            exec(compile(own, f"{heading} (own)", "exec"), ours)
            exec(compile(other, f"{heading} (other)", "exec"), theirs)
            found[heading] = (ours["masks"], theirs["masks"])
    return found


def test_the_guide_has_every_example_in_both_spellings() -> None:
    blocks = sections()
    assert list(blocks) == list(EXAMPLES)
    for own, other in blocks.values():
        assert "compat" not in own and "setimage" not in own
        assert "decode" not in other and "AutomaticMaskGenerator(predictor" not in other


@pytest.mark.parametrize("heading", EXAMPLES)
def test_both_spellings_agree(heading: str, results: dict[str, tuple[Any, Any]]) -> None:
    own, other = ([np.asarray(mask) for mask in masks] for masks in results[heading])
    assert len(own) == len(other) > 0
    shape = EXAMPLES[heading]
    assert shape is None or (len(own), *own[0].shape) == shape
    for mine, theirs in zip(own, other, strict=True):
        assert mine.dtype == theirs.dtype == np.bool_ and mine.shape == theirs.shape
        assert (mine != theirs).mean() < 1e-4
    assert any(mask.any() and not mask.all() for mask in own)
