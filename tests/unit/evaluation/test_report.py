from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from segany.core.errors import DataError
from segany.evaluation.comparison import compare, comparison_markdown
from segany.evaluation.report import (
    columns_of,
    fill_marked,
    plot_bars,
    plot_clicks,
    ranking_markdown,
    rich_table,
    summarise,
    to_json,
    to_markdown,
)
from segany.evaluation.sampling import MaskRow

SCORES = {
    "grabcut": 0.3,
    "box": 0.8,
    "clicks_9": 0.9,
    "clicks_2": 0.6,
    "oracle_1": 0.8,
    "clicks_1": 0.4,
    "mean_1": 0.2,
    "largest_1": 0.1,
    "predicted_1": 0.5,
}


def row(pack: str, image: str, mask: int = 0, **scores: float) -> MaskRow:
    return MaskRow(pack=pack, image=image, mask=mask, area_share=0.1, scores={**SCORES, **scores})


ROWS = [row("coco", "a"), row("coco", "a", 1, box=0.6), row("coco", "b"), row("camvid", "c", box=0.4)]


def test_means_per_pack_over_masks() -> None:
    coco, camvid = summarise(ROWS)
    assert (coco.pack, coco.images, coco.masks) == ("coco", 2, 3)
    assert (camvid.pack, camvid.images, camvid.masks) == ("camvid", 1, 1)
    assert coco.scores["box"].mean == pytest.approx((0.8 + 0.6 + 0.8) / 3)
    assert coco.predicted_best_share == pytest.approx(0.5)


def test_columns_are_ordered_for_reading() -> None:
    assert list(columns_of(summarise(ROWS))) == ["oracle_1", "clicks_1", "clicks_2", "clicks_9", "box", "grabcut"]


def test_json_holds_every_score() -> None:
    report = json.loads(json.dumps(to_json(summarise(ROWS), {"model": "tiny"})))
    assert report["about"] == {"model": "tiny"}
    assert set(report["packs"][0]["scores"]) == set(SCORES)
    assert report["packs"][1]["scores"]["box"] == {"mean": 0.4, "low": 0.4, "high": 0.4}
    assert report["mean_of_packs"]["box"] == pytest.approx((0.7333 + 0.4) / 2, abs=1e-3)


def test_markdown_is_a_table_of_one_width() -> None:
    lines = to_markdown(summarise(ROWS)).splitlines()
    assert len(lines) == 2 + 2 + 1
    assert len({line.count("|") for line in lines}) == 1
    assert "| camvid | 1 | 1 |" in lines[3] and "0.400 (0.400–0.400)" in lines[3]
    assert lines[4].startswith("| mean of packs |")
    chosen = to_markdown(summarise(ROWS), ["box"], intervals=False).splitlines()
    assert chosen[0] == "| pack | images | masks | box |"
    assert chosen[3] == "| camvid | 1 | 1 | 0.400 |"


def test_ranking_says_what_choosing_is_worth() -> None:
    line = ranking_markdown(summarise(ROWS)).splitlines()[2]
    assert line == "| coco | 0.200 | 0.100 | 0.400 | 0.800 | 0.500 |"
    assert ranking_markdown(summarise([MaskRow(pack="p", image="i", mask=0, area_share=1, scores={"box": 1})])) == ""


def test_terminal_table_holds_the_numbers() -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(rich_table(summarise(ROWS)))
    text = console.export_text()
    assert "camvid" in text and "0.400" in text


def test_plots_are_pictures(tmp_path: Path) -> None:
    clicks = plot_clicks(tmp_path / "clicks.png", summarise(ROWS))
    bars = plot_bars(tmp_path / "bars.png", summarise(ROWS), ["box", "grabcut"])
    for path in (clicks, bars):
        assert path is not None and path.read_bytes().startswith(b"\x89PNG")
    without = [MaskRow(pack="p", image="i", mask=0, area_share=1, scores={"box": 1})]
    assert plot_clicks(tmp_path / "none.png", summarise(without)) is None
    assert not (tmp_path / "none.png").exists()


def test_nothing_or_a_mixture_is_an_error() -> None:
    with pytest.raises(DataError, match="no mask was large enough"):
        summarise([])
    mixed = [ROWS[0], MaskRow(pack="coco", image="b", mask=0, area_share=1, scores={"box": 1})]
    with pytest.raises(DataError, match="different runs"):
        summarise(mixed)


def test_comparison_is_paired_and_knows_when_it_does_not_know() -> None:
    rows = [row("coco", f"{index}", box=index / 40 + 0.1, grabcut=index / 40) for index in range(30)]
    rows += [row("camvid", f"{index}", box=0.5, grabcut=0.5 + (-1) ** index * 0.2) for index in range(30)]
    better, undecided = compare(rows, [("box", "grabcut")])
    assert better.difference.mean == pytest.approx(0.1)
    assert better.difference.high - better.difference.low < 1e-9, "the spread of the images cancels out"
    assert (better.verdict, undecided.verdict) == ("better", "undecided")
    assert compare(rows, [("grabcut", "box")])[0].verdict == "worse"
    table = comparison_markdown([better, undecided], {"box": "box", "grabcut": "GrabCut"})
    assert "| box − GrabCut | +0.100 (+0.100 to +0.100) |" in table
    with pytest.raises(DataError, match="not measured"):
        compare(ROWS, [("box", "ritm")])


def test_marked_places_are_filled_again_and_again() -> None:
    page = "before\n<!-- scores:start -->\nold\n<!-- scores:end -->\nafter\n"
    filled = fill_marked(page, "scores", "new\n")
    assert filled == "before\n<!-- scores:start -->\nnew\n<!-- scores:end -->\nafter\n"
    assert fill_marked(filled, "scores", "new\n") == filled
    for wrong in ("", page + page, "<!-- scores:end --><!-- scores:start -->"):
        with pytest.raises(DataError, match="scores:start"):
            fill_marked(wrong, "scores", "new")
