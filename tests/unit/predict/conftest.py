"""A lively toy predictor, a predictor whose masks are discs, a photo and its embedding."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segany.predict.embedding import ImageEmbedding
from segany.predict.predictor import Predictor

from . import _toys


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return _toys.lively()


@pytest.fixture(scope="session")
def discs() -> Predictor:
    return Predictor(_toys.DiscSam(), device="cpu")


@pytest.fixture(scope="session")
def rgb() -> NDArray[np.uint8]:
    return _toys.photo()


@pytest.fixture(scope="session")
def embedding(predictor: Predictor, rgb: NDArray[np.uint8]) -> ImageEmbedding:
    return predictor.encode(rgb)
