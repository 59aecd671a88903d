"""One endless order over several data sets, the same for any number of processes, taken up anywhere.

The order is a function of seed, sizes and weights alone. Position p names a data set, drawn by weight, and the
next image of that set's own shuffled order; a set that is through starts again with another order. Process r of n
reads positions r, r + n, r + 2n, ..., so n processes together read exactly what one process reads.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segany.core.errors import OptionError
from segany.data.sample import Sample, SampleSource

CHUNK = 4096
"""Positions whose data sets are drawn at once; part of the definition of the order."""

_CHOICE, _ORDER, _DRAW = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Draw:
    """One position of the order."""

    position: int
    """From 0, over all processes."""
    source: int
    """Which data set."""
    index: int
    """Which image of it."""
    epoch: int
    """How often that data set was read through before."""


class MixingSampler:
    """Endless draws; usable as the sampler of a data loader, whose workers then need no state.

    Args:
        sizes: number of images of each data set.
        weights: how often each is drawn, relative to the others; their sizes when None.
        seed: of the order.
        rank: this process.
        world: number of processes.
        shuffle: False reads each data set in its own order.

    Raises:
        OptionError: no data set, an empty one, impossible weights, or a rank outside the world.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        weights: Sequence[float] | None = None,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
    ) -> None:
        self.sizes = tuple(int(size) for size in sizes)
        self.weights = _shares(self.sizes, weights)
        if not 0 <= rank < world:
            raise OptionError(f"a rank must be 0 to {world - 1} of {world} processes; got {rank}.")
        if seed < 0:
            raise OptionError(f"a seed must be 0 or more; got {seed}.")
        self.seed, self.rank, self.world, self.shuffle = int(seed), rank, world, shuffle
        self._start = 0
        self._taken = 0
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}
        self._choices: tuple[int, NDArray[np.int64]] | None = None
        self._before: tuple[int, NDArray[np.int64]] = (0, np.zeros(len(self.sizes), np.int64))

    def __iter__(self) -> Iterator[Draw]:
        """Draws of this rank from where it stands, for ever."""
        start = self._start + self._taken * self.world
        counts = self._counts(start)
        position = start
        while True:
            for turn in range(self.world):
                source = self._source(position)
                draw = self._draw(position, source, counts[source])
                counts[source] += 1
                position += 1
                if turn == self.rank:
                    mine = draw
            self._taken += 1
            yield mine

    def at(self, position: int) -> Draw:
        """The draw at one position of the global order."""
        source = self._source(position)
        return self._draw(position, source, self._counts(position)[source])

    def state_dict(self, taken: int | None = None) -> dict[str, Any]:
        """Where the order stands, the same for every rank and good for any number of processes.

        Args:
            taken: draws of this rank that were used since the start or the last `load_state_dict`. Give it
                when a loader draws ahead of what was trained on; all that were drawn when None.

        Raises:
            OptionError: more than were drawn.
        """
        used = self._taken if taken is None else taken
        if not 0 <= used <= self._taken:
            raise OptionError(f"taken must be 0 to the {self._taken} draws made so far; got {used}.")
        return {"position": self._start + used * self.world, "order": self.fingerprint}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state_dict` stood; iterate anew afterwards.

        Raises:
            OptionError: the state of another order, or none at all.
        """
        position = state.get("position")
        if not isinstance(position, int) or isinstance(position, bool) or position < 0:
            raise OptionError(f"a sampler's state must hold a position of 0 or more; got {position!r}.")
        if state.get("order") != self.fingerprint:
            raise OptionError(
                "a sampler's state must be of the same seed, data sets and weights; it is of others. "
                "Resume with what the run was started with, or start a new run."
            )
        self._start, self._taken = position, 0

    @property
    def fingerprint(self) -> str:
        """sha256 of what decides the order; the number of processes does not."""
        what = [self.seed, self.sizes, self.weights, self.shuffle, CHUNK]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()

    def _source(self, position: int) -> int:
        chunk, place = divmod(position, CHUNK)
        if self._choices is None or self._choices[0] != chunk:
            self._choices = (chunk, self._chunk(chunk))
        return int(self._choices[1][place])

    def _chunk(self, chunk: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self.seed, _CHOICE, chunk])
        drawn = np.flatnonzero(self.weights)
        edges = np.cumsum(np.asarray(self.weights)[drawn])[:-1]
        return drawn[np.searchsorted(edges, rng.random(CHUNK), side="right")].astype(np.int64)

    def _counts(self, position: int) -> list[int]:
        """How often each data set was drawn before a position."""
        whole, rest = divmod(position, CHUNK)
        chunks, counts = self._before if self._before[0] <= whole else (0, np.zeros(len(self.sizes), np.int64))
        for chunk in range(chunks, whole):
            counts = counts + np.bincount(self._chunk(chunk), minlength=len(self.sizes))
        self._before = (whole, counts)
        if rest:
            counts = counts + np.bincount(self._chunk(whole)[:rest], minlength=len(self.sizes))
        return [int(count) for count in counts]

    def _draw(self, position: int, source: int, count: int) -> Draw:
        epoch, place = divmod(count, self.sizes[source])
        if not self.shuffle:
            return Draw(position, source, place, epoch)
        known = self._orders.get(source)
        if known is None or known[0] != epoch:
            rng = np.random.default_rng([self.seed, _ORDER, source, epoch])
            known = self._orders[source] = (epoch, rng.permutation(self.sizes[source]))
        return Draw(position, source, int(known[1][place]), epoch)


class MixedDataset:
    """Several data sets under the draws of a sampler: ``dataset[draw]`` is a sample.

    Args:
        sources: the data sets, in the order of the sampler's sizes.

    Raises:
        OptionError: none.
    """

    def __init__(self, sources: Sequence[SampleSource]) -> None:
        if not sources:
            raise OptionError("at least one data set is needed; got none.")
        self.sources = tuple(sources)

    @property
    def sizes(self) -> tuple[int, ...]:
        """For the sampler."""
        return tuple(len(source) for source in self.sources)

    def __getitem__(self, draw: Draw) -> Sample:
        return self.sources[draw.source][draw.index]


def draw_rng(seed: int, draw: Draw) -> np.random.Generator:
    """Randomness that belongs to one position: the same in whichever process and worker it is used.

    Args:
        seed: of the run.
        draw: the position.
    """
    return np.random.default_rng([seed, _DRAW, draw.position])


def _shares(sizes: Sequence[int], weights: Sequence[float] | None) -> tuple[float, ...]:
    if not sizes or min(sizes) < 1:
        raise OptionError(f"every data set to draw from must have an image; got sizes {list(sizes)}.")
    given = [float(weight) for weight in (sizes if weights is None else weights)]
    total = math.fsum(given)
    if len(given) != len(sizes) or not all(weight >= 0 for weight in given) or not 0 < total < math.inf:
        raise OptionError(
            f"weights must be one number of 0 or more per data set ({len(sizes)}), and not all 0; got {given}."
        )
    return tuple(weight / total for weight in given)
