"""The embedding cache: what it finds, what it refuses, what it forgets, and several processes at once."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from segany.core.errors import EmbeddingError, OptionError
from segany.predict.automatic.generator import AutomaticMaskGenerator
from segany.predict.cache import STALE_S, EmbeddingCache
from segany.predict.embedding import ImageEmbedding, photo_hash
from segany.predict.predictor import Predictor

from . import _toys
from ._cache_child import Stamp, photo

CHILD = Path(__file__).with_name("_cache_child.py")
ONE = 10_000
"""More than one file of the stamp, less than two."""


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "embeddings")


@pytest.fixture
def stamp() -> Any:
    return Stamp()


def files(cache: EmbeddingCache) -> list[Path]:
    return sorted(path for path in cache.folder.rglob("*") if path.is_file())


def test_second_call_does_not_encode_and_gives_the_same(
    cache: EmbeddingCache, predictor: Predictor, rgb: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cache.get_or_encode(predictor, rgb)
    monkeypatch.setattr(Predictor, "encode_many", lambda *_, **__: pytest.fail("encoded again"))
    again = cache.get_or_encode(predictor, rgb)
    assert torch.equal(first.features, again.features)
    assert (again.frame, again.fingerprint, again.photo) == (first.frame, first.fingerprint, photo_hash(rgb))
    one, two = (predictor.decode(image, points=[(40, 30)], labels=[1]) for image in (first, again))
    assert (one.masks == two.masks).all()


def test_a_file_is_known_by_its_bytes(cache: EmbeddingCache, stamp: Any, tmp_path: Path) -> None:
    path, copy = tmp_path / "a.png", tmp_path / "elsewhere.png"
    Image.fromarray(photo(3)).save(path)
    copy.write_bytes(path.read_bytes())
    cache.get_or_encode(stamp, path, rgb=photo(3))
    cache.get_or_encode(stamp, copy, rgb=photo(3))
    assert stamp.encoded == 1
    Image.fromarray(photo(4)).save(path)
    assert float(cache.get_or_encode(stamp, path, rgb=photo(4)).features[0, 0, 0]) == 4


def test_photos_models_precisions_and_engines_are_kept_apart(cache: EmbeddingCache, stamp: Any) -> None:
    stamps = [Stamp() for _ in range(4)]
    stamps[1].fingerprint = "e" * 64
    stamps[2].dtype = torch.bfloat16
    stamps[3].backend = "another engine"  # type: ignore[attr-defined]
    paths = {cache.path(other, "key") for other in stamps}  # type: ignore[arg-type]
    paths |= {cache.path(stamp, "other key")}
    assert len(paths) == 5
    for other in stamps:
        cache.get_or_encode(other, photo(1))  # type: ignore[arg-type]
    assert [other.encoded for other in stamps] == [1, 1, 1, 1]


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "one bit"])
def test_a_damaged_file_is_made_anew(cache: EmbeddingCache, stamp: Any, damage: str) -> None:
    cache.get_or_encode(stamp, photo(5))
    (path,) = files(cache)
    good = path.read_bytes()
    bad = {
        "empty": b"",
        "cut": good[: len(good) // 2],
        "noise": b"\xff" * len(good),
        "one bit": good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
    }[damage]
    path.write_bytes(bad)
    with pytest.raises(EmbeddingError):
        ImageEmbedding.load(path)
    assert float(cache.get_or_encode(stamp, photo(5)).features.mean()) == 5
    assert stamp.encoded == 2
    cache.get_or_encode(stamp, photo(5))
    assert stamp.encoded == 2


def test_a_key_that_stands_for_another_photo_is_noticed(cache: EmbeddingCache, stamp: Any) -> None:
    cache.get_or_encode(stamp, photo(1), key="mine")
    assert float(cache.get_or_encode(stamp, photo(2), key="mine").features.mean()) == 2
    found = cache.get(stamp, "mine", photo(2))
    assert found is not None and float(found.features.mean()) == 2


def test_the_least_recently_used_go_first(cache: EmbeddingCache, stamp: Any) -> None:
    small = dataclasses.replace(cache, max_bytes=3 * ONE)
    for number in range(3):
        small.get_or_encode(stamp, photo(number))
        for path in files(small):  # an hour passes
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3600))
    small.get_or_encode(stamp, photo(0))  # used again
    small.get_or_encode(stamp, photo(3))
    assert stamp.encoded == 4
    assert small.size() <= small.max_bytes
    for number in (0, 2, 3):
        small.get_or_encode(stamp, photo(number))
    assert stamp.encoded == 4, "one that was used lately had gone"
    small.get_or_encode(stamp, photo(1))
    assert stamp.encoded == 5


def test_the_limit_holds_even_for_one_photo(cache: EmbeddingCache, stamp: Any) -> None:
    none = dataclasses.replace(cache, max_bytes=10)
    none.get_or_encode(stamp, photo(0))
    assert none.size() == 0
    with pytest.raises(OptionError, match="max_bytes"):
        EmbeddingCache(cache.folder, 0)


def test_what_killed_processes_left_is_swept(cache: EmbeddingCache, stamp: Any) -> None:
    place = cache.put(stamp, "a", stamp.encode(photo(0))).parent
    old, new = place / ".x.1.part.safetensors", place / ".x.2.part.safetensors"
    for path in (old, new):
        path.write_bytes(b"half")
    past = time.time() - STALE_S - 10
    os.utime(old, (past, past))
    cache.put(stamp, "b", stamp.encode(photo(1)))
    assert not old.exists()
    assert new.exists(), "another process may be writing it"


def test_other_files_in_the_folder_are_left_alone(cache: EmbeddingCache, stamp: Any) -> None:
    cache.folder.mkdir()
    (cache.folder / "notes.safetensors").write_text("mine")
    tiny = dataclasses.replace(cache, max_bytes=1)
    tiny.get_or_encode(stamp, photo(0))
    tiny.clear()
    assert [path.name for path in files(cache)] == ["notes.safetensors"]


def test_a_folder_that_cannot_be_written_costs_only_the_cache(
    stamp: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = EmbeddingCache(tmp_path / "file" / "cache")
    assert float(blocked.get_or_encode(stamp, photo(7)).features.mean()) == 7
    assert "could not be kept" in caplog.text


def test_it_pickles(cache: EmbeddingCache) -> None:
    assert pickle.loads(pickle.dumps(cache)) == cache


def start(cache: EmbeddingCache, rounds: str, seed: int, limit: int) -> subprocess.Popen[str]:
    words = [sys.executable, str(CHILD), str(cache.folder), str(limit), rounds, str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_several_processes_share_a_folder_while_others_are_killed(cache: EmbeddingCache, stamp: Any) -> None:
    """Half of the photos fit, so that every process evicts what others read; two die in the middle of their work."""
    limit = 3 * ONE
    doomed = [start(cache, "forever", seed, limit) for seed in (1, 2)]
    workers = [start(cache, "60", seed, limit) for seed in (3, 4)]
    deadline = time.monotonic() + 100
    while not files(cache):
        assert time.monotonic() < deadline, "nobody wrote anything"
        time.sleep(0.02)
    for process in doomed:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    for process in workers:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        assert 1 <= int(out) <= 60
    for number in range(6):
        assert float(cache.get_or_encode(stamp, photo(number)).features.mean()) == number
    dataclasses.replace(cache, max_bytes=limit).trim()
    assert 0 < cache.size() <= limit + 2 * ONE  # the killed ones' temporary files are not old enough to go


def test_embeddings_of_another_photo_are_refused(predictor: Predictor, rgb: NDArray[np.uint8]) -> None:
    generator = AutomaticMaskGenerator(predictor, points_per_side=2)
    embeddings = generator.embed(rgb)
    other = rgb.copy()
    other[0, 0, 0] ^= 1
    assert generator.generate(rgb, embeddings=embeddings) == generator.generate(rgb)
    with pytest.raises(EmbeddingError, match="another one of the same size"):
        generator.generate(other, embeddings=embeddings)
    unknown = [dataclasses.replace(embedding, photo=None) for embedding in embeddings]
    assert generator.generate(other, embeddings=unknown) == generator.generate(rgb, embeddings=unknown)


def test_older_files_without_a_hash_still_load(tmp_path: Path, embedding: ImageEmbedding) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = dataclasses.replace(embedding, photo=None).save(tmp_path / "now.safetensors")
    with safe_open(path, framework="pt") as file:
        about = {key: value for key, value in file.metadata().items() if key != "sha256"}
    save_file({"features": embedding.features.contiguous()}, tmp_path / "before.safetensors", metadata=about)
    loaded = ImageEmbedding.load(tmp_path / "before.safetensors")
    assert torch.equal(loaded.features, embedding.features)
    assert loaded.photo is None


def test_the_hash_knows_sizes_and_pixels() -> None:
    rgb = _toys.photo(12, 18)
    same = [photo_hash(rgb), photo_hash(np.asfortranarray(rgb)), photo_hash(rgb[:, ::-1][:, ::-1])]
    assert len(set(same)) == 1
    assert photo_hash(rgb.reshape(18, 12, 3)) != same[0]
    assert photo_hash(rgb[::-1]) != same[0]
