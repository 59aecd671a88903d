"""A process of its own that works on an embedding cache, for `test_cache.py`.

python _cache_child.py FOLDER MAX_BYTES ROUNDS SEED      reads and writes a few photos over and over
python _cache_child.py FOLDER MAX_BYTES forever SEED     the same until it is killed
"""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

import numpy as np
import torch

from segany.geometry.frames import Frame
from segany.predict.cache import EmbeddingCache
from segany.predict.embedding import ImageEmbedding, photo_hash

PHOTOS = 6


class Stamp:
    """Stands for a predictor: its embedding of a photo is the photo's first value everywhere."""

    fingerprint = "f" * 64
    dtype = torch.float32

    def __init__(self) -> None:
        self.encoded = 0

    def check(self, image: ImageEmbedding) -> None:
        assert image.fingerprint == self.fingerprint

    def encode(self, rgb: np.ndarray) -> ImageEmbedding:
        self.encoded += 1
        frame = Frame.of((rgb.shape[0], rgb.shape[1]), 128, 32)
        features = torch.full((32, 8, 8), float(rgb[0, 0, 0]))
        return ImageEmbedding(features, frame, self.fingerprint, photo_hash(rgb))


def photo(number: int) -> np.ndarray:
    return np.full((20, 30, 3), number, np.uint8)


def main() -> None:
    folder, limit, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    cache, stamp, draw = EmbeddingCache(folder, limit), Stamp(), random.Random(seed)
    for _ in itertools.count() if rounds == "forever" else range(int(rounds)):
        number = draw.randrange(PHOTOS)
        embedding = cache.get_or_encode(stamp, photo(number))  # type: ignore[arg-type]
        assert embedding.size_hw == (20, 30)
        assert bool((embedding.features == number).all()), "another photo's embedding, or half of one"
    print(stamp.encoded)


if __name__ == "__main__":
    main()
