"""Describing, checking and converting data sets, from the function and from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from segany.cli.app import main
from segany.core.errors import Cancelled, DataError, OptionError
from segany.data.coco import CocoDataset
from segany.data.convert import TargetOptions
from segany.data.open import SourceOptions, open_source
from segany.data.sample import SampleSource
from segany.data.shard_readers import ShardDataset
from segany.recipes import dataset as recipe

Capture = pytest.CaptureFixture[str]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def stop_after(count: int) -> Callable[[], bool]:
    asked = iter(range(10**6))
    return lambda: next(asked) >= count


def test_stats_writes_numbers_plots_and_a_table(packs_root: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    code = main(["dataset", "stats", str(packs_root / "bsds500"), str(packs_root / "dsb2018"), "-o", str(out)])
    assert code == 0
    plots = {"masks_per_image.png", "relative_size.png", "concavity.png", "centers.png"}
    assert files(out) == {"stats.json", "stats.md", *plots}
    assert all((out / plot).read_bytes().startswith(b"\x89PNG") for plot in plots)
    rows = json.loads((out / "stats.json").read_text())["data_sets"]
    assert [(row["name"], row["images"], row["masks"]) for row in rows] == [("bsds500", 2, 10), ("dsb2018", 2, 4)]
    said = capsys.readouterr().out
    assert "| masks per image | 5.0 | 2.0 |" in said and said.strip() in (out / "stats.md").read_text()


def test_stats_of_one_set_twice_have_two_names(packs_root: Path) -> None:
    root = packs_root / "dsb2018"
    result = recipe.stats([root, root])
    assert [one.name for one in result.stats] == ["dsb2018", "dsb2018 2"]
    assert result.files == ()


def test_stopped_work_leaves_nothing_half_written(packs_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Cancelled):
        recipe.stats([packs_root / "bsds500"], out, cancelled=stop_after(1))
    with pytest.raises(Cancelled):
        recipe.validate(packs_root / "bsds500", out, cancelled=stop_after(1))
    assert not out.exists()
    with pytest.raises(Cancelled):
        recipe.convert(packs_root / "bsds500", out, "shards", cancelled=stop_after(1))
    assert files(out) == {recipe.LEDGER}


def test_validate_says_what_is_wrong(packs_root: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["dataset", "validate", str(packs_root / "coco")]) == 0
    assert "nothing wrong" in capsys.readouterr().out
    image = next((packs_root / "coco" / "train2017").iterdir())
    image.write_bytes(b"damaged")
    out = tmp_path / "report"
    command = ["dataset", "validate", str(packs_root / "coco"), "--format", "coco", "-o", str(out)]
    assert main(command) == 1
    assert files(out) == {"validation.json", "validation.md"}
    report = json.loads((out / "validation.json").read_text())
    assert report["good"] is False
    assert report["offences"]["image"]["count"] == 1
    assert image.stem in report["offences"]["image"]["first"][0]
    assert main([*command, "--no-photos"]) == 0


def test_validate_checks_the_hashes_of_shards(packs_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    recipe.convert(packs_root / "dsb2018", out, "shards")
    assert recipe.validate(out).report.good
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["shards"][0]["sha256"] = "0" * 64
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert set(recipe.validate(out).report.counts) == {"manifest"}


def test_an_interrupted_conversion_goes_on(packs_root: Path, tmp_path: Path) -> None:
    options = SourceOptions(part="all")
    target = TargetOptions(shard_images=1)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    recipe.convert(packs_root / "dsb2018", whole, "shards", options=options, target=target)
    with pytest.raises(Cancelled):
        recipe.convert(packs_root / "dsb2018", cut, "shards", options=options, target=target, cancelled=stop_after(3))
    result = recipe.convert(packs_root / "dsb2018", cut, "shards", options=options, target=target)
    assert (result.written, result.there_already) == (2, 2)
    assert files(cut) == files(whole)
    assert all((cut / name).read_bytes() == (whole / name).read_bytes() for name in files(whole))


def test_workers_convert_together(packs_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (1, 0):
        command = ["dataset", "convert", str(packs_root / "dsb2018"), "--part", "all", "--to", "shards"]
        assert main([*command, "-o", str(out), "--worker", f"{number}/2"]) == 0
    assert len(ShardDataset(out)) == 4
    assert recipe.validate(out).report.good


def test_a_broken_image_does_not_stop_the_rest(packs_root: Path, tmp_path: Path, capsys: Capture) -> None:
    (packs_root / "dsb2018" / "labels" / "a.png").write_bytes(b"damaged")
    command = ["dataset", "convert", str(packs_root / "dsb2018"), "--to", "coco", "-o", str(tmp_path / "out")]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "1 images written" in said and "1 failed" in said and "a.png" in said and "Traceback" not in said
    assert len(CocoDataset(tmp_path / "out" / "annotations.json")) == 1


def test_an_image_that_comes_twice_is_reported(packs_root: Path, tmp_path: Path) -> None:
    images = packs_root / "dsb2018" / "images"
    (images / "b.png").write_bytes((images / "a.png").read_bytes())
    result = recipe.convert(packs_root / "dsb2018", tmp_path / "out", "sa1b")
    assert result.written == 1
    assert len(result.failed) == 1 and "same file as a" in result.failed[0]


def test_yolo_and_labelme_have_their_photos(packs_root: Path, tmp_path: Path) -> None:
    recipe.convert(packs_root / "coco", tmp_path / "yolo", "yolo", format="coco")
    assert files(tmp_path / "yolo") >= {"data.yaml", "labels/classes.txt", "labels/img10.txt", "images/img10.png"}
    assert '0: "thing"' in (tmp_path / "yolo" / "data.yaml").read_text()
    recipe.convert(packs_root / "bsds500", tmp_path / "labelme", "labelme", target=TargetOptions(photos=True))
    document = json.loads((tmp_path / "labelme" / "train" / "train0.json").read_text())
    assert (tmp_path / "labelme" / "train" / document["imagePath"]).is_file()


BAD = {
    "no data set": (["stats", "gone"], "gone"),
    "no known format": (["validate", "empty"], "looks like none"),
    "an unknown target": (["convert", ".", "--to", "zip", "-o", "out"], "shards"),
    "no output": (["convert", "PACK", "--to", "coco"], "--output"),
    "a worker too many": (["convert", "PACK", "--to", "shards", "-o", "out", "--worker", "2/2"], "I/N"),
    "two workers for YOLO": (["convert", "PACK", "--to", "yolo", "-o", "out", "--worker", "0/2"], "one worker"),
    "a shard of nothing": (["convert", "PACK", "--to", "shards", "-o", "out", "--shard-images", "0"], "1 image"),
    "a conversion of nothing": (["convert", "PACK", "--to", "coco", "-o", "out", "--limit", "0"], "1 image or more"),
    "into itself": (["convert", "PACK", "--to", "coco", "-o", "PACK"], "own folder"),
    "into other files": (["convert", "PACK", "--to", "coco", "-o", "."], "new or empty"),
    "a file as output": (["stats", "PACK", "-o", "file.txt"], "must be a folder"),
    "a limit of nothing": (["stats", "PACK", "--limit", "0"], "1 image or more"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_a_users_mistake_is_answered(
    packs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    before = files(tmp_path)
    words, expected = BAD[case]
    pack = str(packs_root / "dsb2018")
    assert main(["dataset", *[pack if word == "PACK" else word for word in words]]) == 2
    said = capsys.readouterr().err
    assert expected in said and "Traceback" not in said
    assert files(tmp_path) == before


def test_a_folder_of_another_conversion_is_kept(packs_root: Path, tmp_path: Path) -> None:
    recipe.convert(packs_root / "dsb2018", tmp_path / "out", "coco")
    with pytest.raises(OptionError, match="another one"):
        recipe.convert(packs_root / "bsds500", tmp_path / "out", "coco")


def test_nothing_readable_is_an_error(packs_root: Path, tmp_path: Path) -> None:
    for label in (packs_root / "dsb2018" / "labels").iterdir():
        label.write_bytes(b"damaged")
    with pytest.raises(DataError, match="at least one readable"):
        recipe.stats([packs_root / "dsb2018"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_real_coco_images_to_shards_and_back(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "coco"
    first = recipe.convert(source, tmp_path / "shards", "shards", format="coco", limit=10)
    assert (first.written, first.failed, first.missing) == (10, [], [])
    assert recipe.validate(tmp_path / "shards").report.good
    recipe.convert(tmp_path / "shards", tmp_path / "coco", "coco")
    before, after = open_source(source, format="coco"), CocoDataset(tmp_path / "coco" / "annotations.json")
    assert isinstance(before, SampleSource)
    labels = {
        sample.load_bytes(): [(mask.label, mask.segmentation["counts"]) for mask in sample.record.annotations]
        for sample in after
    }
    assert len(labels) == 10
    picked = [before[index * len(before) // 10] for index in range(10)]
    for sample in picked:
        assert labels[sample.load_bytes()] == [(m.label, m.segmentation["counts"]) for m in sample.record.annotations]


@pytest.mark.parametrize("pack", ["bsds500", "dsb2018", "camvid"])
def test_real_packs_are_sound(shared: Path, pack: str) -> None:
    result = recipe.validate(shared / "data" / pack, limit=4, options=SourceOptions(part="all"))
    assert result.report.good and result.report.images == 4 and result.report.masks > 50
