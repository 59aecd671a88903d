"""Matching, agreement, known answers, the audit, who is looked at: pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from segany.core.errors import OptionError
from segany.engine.chance import draw, is_held_out
from segany.engine.config import ProjectSettings
from segany.engine.quality import (
    agreement,
    audit_ious,
    audit_report,
    choose_audit,
    gold_score,
    match_masks,
    needs_review,
)
from segany.engine.values import Image
from segany.masks.rle import encode

from .conftest import HEIGHT, WIDTH, document

IMAGE = Image(
    id=1,
    project=1,
    image_id=5,
    sha256="a" * 64,
    file_name="a.png",
    width=WIDTH,
    height=HEIGHT,
    privacy="unchecked",
    held_out=False,
)
BOX, OTHER = (2, 2, 12, 12), (14, 4, 28, 20)


def test_matching_takes_the_best_sum_not_the_first_best_pair() -> None:
    """Greedy would pair a with y (0.8) and leave b with x (0); together a-x and b-y are better."""
    strip = [np.zeros((1, 100), bool) for _ in range(4)]
    a, b, x, y = strip
    a[:, 0:50], x[:, 0:35] = True, True
    y[:, 5:55], b[:, 15:60] = True, True
    pairs = match_masks([encode(a), encode(b)], [encode(x), encode(y)])
    assert [(first, second) for first, second, _ in pairs] == [(0, 0), (1, 1)]


@settings(max_examples=40)
@given(arrays(bool, (4, 5, 6)), arrays(bool, (3, 5, 6)))
def test_matching_is_one_to_one_above_the_limit_and_the_same_from_both_sides(first: Any, second: Any) -> None:
    a, b = [encode(mask) for mask in first], [encode(mask) for mask in second]
    pairs, back = match_masks(a, b), match_masks(b, a)
    assert len({i for i, _, _ in pairs}) == len({j for _, j, _ in pairs}) == len(pairs)
    assert all(iou >= 0.5 for _, _, iou in pairs)
    assert sum(iou for *_, iou in pairs) == pytest.approx(sum(iou for *_, iou in back))


def test_agreement() -> None:
    told = agreement(document(IMAGE, BOX, OTHER), document(IMAGE, (2, 2, 12, 10)))
    assert (told.matched, told.only_first, told.only_second, told.mean_iou) == (1, 1, 0, 0.8)
    assert told.f1 == pytest.approx(2 / 3)
    assert agreement(document(IMAGE), document(IMAGE)).f1 == 1.0
    assert agreement(document(IMAGE), document(IMAGE, BOX)).f1 == 0.0


def test_known_answers() -> None:
    score = gold_score(document(IMAGE, (2, 2, 12, 10)), document(IMAGE, BOX, OTHER))
    assert (score.masks, score.found, score.extra, score.mean_iou) == (2, 1, 0, 0.4)
    assert gold_score(document(IMAGE, BOX), document(IMAGE)).mean_iou == 1.0


def test_the_audit_compares_masks_by_their_ids() -> None:
    ious, removed, added = audit_ious(document(IMAGE, BOX, OTHER), document(IMAGE, (2, 2, 12, 10)))
    assert (ious, removed, added) == ([0.8], 1, 0)
    report = audit_report([(ious, removed, added), ([1.0, 0.95, 0.75], 0, 2)])
    assert (report.images, report.masks, report.removed, report.added) == (2, 4, 1, 2)
    assert (report.share_above_90, report.share_above_75, report.mean_iou) == (0.5, 0.75, 0.875)
    assert audit_report([]).mean_iou == 0.0


def test_an_audit_takes_the_same_images_whatever_their_order() -> None:
    names = [f"{number:064x}" for number in range(700)]
    assert choose_audit(names, count=9) == choose_audit(names[::-1], count=9)
    assert len(choose_audit(names, count=9999)) == 500
    assert choose_audit(names, count=9, seed=1) != choose_audit(names, count=9)


def test_who_is_looked_at() -> None:
    rules = ProjectSettings(review_share=0.0, review_first=3, gold_least=0.8)
    look = {"rejections": 0, "gold": (), "earlier": 3}
    assert not needs_review(rules, "a", **look)
    assert needs_review(rules, "a", **{**look, "earlier": 2})
    assert needs_review(rules, "a", **{**look, "rejections": 1})
    assert needs_review(rules, "a", **{**look, "gold": (0.9, 0.6)})
    assert not needs_review(rules, "a", **{**look, "gold": (0.9, 0.8)})
    assert needs_review(ProjectSettings(review_share=1.0, review_first=0), "a", **look)


def test_chance_is_fair_and_the_same_every_time() -> None:
    names = [f"{number:064x}" for number in range(4000)]
    held = {name for name in names if is_held_out(name, share=0.1)}
    assert 300 < len(held) < 500
    assert held == {name for name in reversed(names) if is_held_out(name, share=0.1)}
    assert held < {name for name in names if is_held_out(name, share=0.2)}, "a larger share keeps what was held out"
    assert all(0 <= draw(0, "x", name) < 1 for name in names)
    assert draw(0, "x", "a") != draw(0, "y", "a") != draw(1, "y", "a")


@pytest.mark.parametrize(
    "wrong",
    [
        {"review_share": 1.1},
        {"held_out_share": 1.0},
        {"overlap_annotators": 1},
        {"lease_seconds": 0.0},
        {"gold_every": -1},
        {"gold_every": 1.5},
        {"self_review": 1},
        {"licence": 5},
        {"colour": "red"},
    ],
)
def test_impossible_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        ProjectSettings.from_json(wrong)


def test_settings_survive_json() -> None:
    chosen = ProjectSettings(review_share=0.5, guideline="Outline whole things.")
    assert ProjectSettings.from_json(chosen.to_json()) == chosen
    assert ProjectSettings.from_json({"lease_seconds": 60}).lease_seconds == 60
