"""Tar shards: deterministic, whole or not there, readable by others, shared by workers."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segany.core.errors import DataError, OptionError
from segany.data.sample import SampleSource
from segany.data.shard_format import MANIFEST, read_manifest, shard_paths, sidecar_of, write_manifest
from segany.data.shard_readers import ShardDataset, ShardStream
from segany.data.shards import ShardWriter
from segany.records.ids import image_id_for
from segany.records.record import ImageRecord, MaskRecord

COUNT = 7


def photo(number: int) -> bytes:
    rng = np.random.default_rng(number)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8)).save(file, format="JPEG")
    return file.getvalue()


def record(number: int) -> ImageRecord:
    masks = [MaskRecord.from_mask(np.random.default_rng((number, i)).random((6, 9)) < 0.5) for i in range(number % 3)]
    return ImageRecord(image_id=0, width=9, height=6, file_name=f"photo{number}.JPG", annotations=tuple(masks))


def write(folder: Path, numbers: range = range(COUNT), **options: int) -> ShardWriter:
    with ShardWriter(folder, **{"max_images": 3, **options}) as writer:
        for number in numbers:
            writer.add(record(number), photo(number))
    return writer


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert {path.name for path in shard_paths(tmp_path / "a")} == {f"sa_00000{n}.tar" for n in range(3)}


def test_what_a_shard_is(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    with tarfile.open(tmp_path / "sa_000000.tar") as tar:
        members = tar.getmembers()
        contents = [tar.extractfile(member).read() for member in members]  # type: ignore[union-attr]
    ids = [image_id_for("", photo(number)) for number in range(2)]
    assert [m.name for m in members] == [f"sa_{n}{e}" for n in ids for e in (".jpg", ".json")]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    assert contents[0] == photo(0)
    document = json.loads(contents[3])
    assert document["image"]["image_id"] == ids[1] and document["image"]["file_name"] == members[2].name
    assert document["image"]["original_file_name"] == "photo1.JPG"


def test_the_manifest(tmp_path: Path) -> None:
    write(tmp_path)
    entries = read_manifest(tmp_path)
    assert [entry.images for entry in entries] == [3, 3, 1]
    assert [entry.masks for entry in entries] == [3, 3, 0]
    assert [number for entry in entries for number in entry.ids] == [image_id_for("", photo(n)) for n in range(COUNT)]
    for entry in entries:
        assert hashlib.sha256((tmp_path / entry.name).read_bytes()).hexdigest() == entry.sha256
    content = json.loads((tmp_path / MANIFEST).read_text())
    assert (content["images"], content["masks"]) == (COUNT, 6)


def test_sa1b_names_keep_their_number(tmp_path: Path) -> None:
    named = ImageRecord(image_id=12, width=9, height=6, file_name="sa_12.jpg")
    with ShardWriter(tmp_path) as writer:
        assert writer.add(named, photo(0)) == 12
    sample = ShardDataset(tmp_path)[0]
    assert (sample.key, sample.image_id, sample.record) == ("sa_12", 12, named)


@pytest.mark.parametrize("with_entries", [True, False])
def test_random_access_and_streaming_read_the_same(tmp_path: Path, with_entries: bool) -> None:
    write(tmp_path)
    if not with_entries:
        for shard in shard_paths(tmp_path):
            sidecar_of(shard).unlink()
    dataset = ShardDataset(tmp_path)
    assert isinstance(dataset, SampleSource) and len(dataset) == COUNT
    streamed = list(ShardStream(tmp_path))
    for number, (one, other) in enumerate(zip(dataset, streamed, strict=True)):
        assert one.load_bytes() == other.load_bytes() == photo(number)
        assert one.record == other.record
        assert one.rles == tuple(mask.segmentation for mask in record(number).annotations)
        assert one.load_rgb().shape == (6, 9, 3)
    assert dataset[COUNT - 1].load_bytes() == photo(COUNT - 1)


def test_webdataset_reads_what_is_written(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    write(tmp_path)
    urls = [str(path) for path in shard_paths(tmp_path)]
    rows = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8").to_tuple("__key__", "jpg", "json"))
    assert [key for key, _, _ in rows] == [f"sa_{image_id_for('', photo(n))}" for n in range(COUNT)]
    assert all(pixels.shape == (6, 9, 3) for _, pixels, _ in rows)
    assert [len(document["annotations"]) for _, _, document in rows] == [n % 3 for n in range(COUNT)]


def test_pycocotools_decodes_what_is_written(tmp_path: Path) -> None:
    from pycocotools import mask as coco_mask

    write(tmp_path)
    for number, sample in enumerate(ShardDataset(tmp_path)):
        document = sample.load_record.load()  # type: ignore[attr-defined]
        for row, mask in zip(document["annotations"], record(number).annotations, strict=True):
            assert np.array_equal(coco_mask.decode(row["segmentation"]) > 0, mask.mask)
            assert int(coco_mask.area(row["segmentation"])) == row["area"]


def test_workers_share_a_folder_and_agree_on_numbers(tmp_path: Path) -> None:
    writers = [ShardWriter(tmp_path, worker=w, workers=3, max_images=2) for w in range(3)]
    for number in range(COUNT):
        writers[number % 3].add(record(number), photo(number))
    for writer in reversed(writers):
        writer.close()
    assert [path.name for path in shard_paths(tmp_path)] == [f"sa_00000{n}.tar" for n in range(4)]
    entries = read_manifest(tmp_path)
    assert sorted(i for e in entries for i in e.ids) == sorted(image_id_for("", photo(n)) for n in range(COUNT))
    assert [sorted(entry.ids) for entry in entries[:3]] == [
        sorted(image_id_for("", photo(n)) for n in numbers) for numbers in ((0, 3), (1, 4), (2, 5))
    ]


def test_a_number_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    """Two workers given the same number by mistake lose nothing."""
    one, other = ShardWriter(tmp_path), ShardWriter(tmp_path)
    one.add(record(0), photo(0))
    other.add(record(1), photo(1))
    one.close()
    other.close()
    assert len(ShardDataset(tmp_path)) == 2
    assert len(read_manifest(tmp_path)) == 2


def test_an_error_leaves_finished_shards_only(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ShardWriter(tmp_path, max_images=3) as writer:
        for number in range(5):
            writer.add(record(number), photo(number))
        raise RuntimeError
    assert {path.name for path in tmp_path.iterdir()} == {"sa_000000.tar", "sa_000000.tar.json"}


def test_going_on_gives_what_one_run_gives(tmp_path: Path) -> None:
    write(tmp_path / "whole")
    with pytest.raises(RuntimeError), ShardWriter(tmp_path / "cut", max_images=3) as writer:
        for number in range(5):
            writer.add(record(number), photo(number))
        raise RuntimeError
    sidecar_of(tmp_path / "cut" / "sa_000000.tar").unlink()
    with ShardWriter(tmp_path / "cut", max_images=3) as writer:
        for number in range(COUNT):
            if not writer.has(image_id_for("", photo(number))):
                writer.add(record(number), photo(number))
    assert hashes(tmp_path / "cut") == hashes(tmp_path / "whole")


def test_shards_are_closed_by_size(tmp_path: Path) -> None:
    write(tmp_path, max_images=100, max_bytes=6_000)
    assert len(shard_paths(tmp_path)) > 1
    assert all(path.stat().st_size <= 6_000 + tarfile.RECORDSIZE for path in shard_paths(tmp_path))


def test_an_image_comes_once(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        writer.add(record(0), photo(0))
        with pytest.raises(DataError, match="once"):
            writer.add(record(1), photo(0))


def test_impossible_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="worker"):
        ShardWriter(tmp_path, worker=2, workers=2)
    with pytest.raises(OptionError, match="1 image"):
        ShardWriter(tmp_path, max_images=0)


def test_broken_shards_are_answered(tmp_path: Path) -> None:
    write(tmp_path / "a", range(3))
    whole = (tmp_path / "a" / "sa_000000.tar").read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[:1500])
    for read in (lambda: ShardDataset(cut), lambda: list(ShardStream(cut))):
        with pytest.raises(DataError, match=r"cut\.tar.*get it anew"):
            read()
    packed = tmp_path / "packed.tar"
    packed.write_bytes(gzip.compress(whole))
    with pytest.raises(DataError, match="unpack it"):
        ShardDataset(packed)
    assert len(list(ShardStream(packed))) == 3
    with pytest.raises(DataError, match="none"):
        ShardDataset(tmp_path / "gone.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="tar shards"):
        ShardDataset(tmp_path / "empty")


def test_a_half_is_told_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("./sa_1.jpg", "./sa_2.json", "./sa_2.jpg", "../sa_3.jpg", "notes.txt"):
            content = b"{}" if name.endswith("json") else photo(1)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    dataset, stream = ShardDataset(path), ShardStream(path)
    assert [sample.key for sample in dataset] == [sample.key for sample in stream] == ["sa_2"]
    assert dataset.missing == stream.missing == ("x.tar: sa_1.jpg has no other half",)
    with pytest.raises(DataError, match=r"sa_2.*image"):
        _ = dataset[0].record


def test_a_replaced_shard_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    dataset = ShardDataset(tmp_path)
    shard = tmp_path / "sa_000000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(DataError, match="replaced"):
        dataset[2].load_bytes()


def test_the_manifest_covers_foreign_shards(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    (tmp_path / "sa_000000.tar.json").unlink()
    (tmp_path / MANIFEST).unlink()
    write_manifest(tmp_path)
    assert read_manifest(tmp_path)[0].masks == 3
