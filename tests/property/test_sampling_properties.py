"""The order of draws: weights, resuming, and any number of processes."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from segany.core.errors import OptionError
from segany.data.sampling import CHUNK, Draw, MixingSampler, draw_rng

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=4)
SEED = st.integers(0, 2**31)


def taken(sampler: MixingSampler, count: int) -> list[Draw]:
    return list(islice(sampler, count))


@given(SIZES, SEED, st.integers(1, 5), st.integers(0, 40))
def test_ranks_partition_the_order(sizes: list[int], seed: int, world: int, count: int) -> None:
    whole = taken(MixingSampler(sizes, seed=seed), world * count)
    ranks = [taken(MixingSampler(sizes, seed=seed, rank=rank, world=world), count) for rank in range(world)]
    assert [draw for turn in zip(*ranks, strict=True) for draw in turn] == whole


@given(SIZES, SEED, st.integers(1, 4), st.integers(0, 30), st.integers(1, 4))
def test_resuming_is_the_same_continuation(
    sizes: list[int], seed: int, world: int, first: int, other_world: int
) -> None:
    """Also with another number of processes than before."""
    sampler = MixingSampler(sizes, seed=seed, rank=world - 1, world=world)
    taken(sampler, first)
    state = sampler.state_dict()
    following = taken(MixingSampler(sizes, seed=seed), first * world + 20)[first * world :]
    for rank in range(other_world):
        resumed = MixingSampler(sizes, seed=seed, rank=rank, world=other_world)
        resumed.load_state_dict(state)
        assert taken(resumed, 4) == following[rank::other_world][:4]
    assert taken(sampler, 3) == following[world - 1 :: world][:3]


@given(SIZES, SEED, st.integers(0, 20), st.integers(0, 20))
def test_what_was_drawn_ahead_is_drawn_again(sizes: list[int], seed: int, used: int, ahead: int) -> None:
    sampler = MixingSampler(sizes, seed=seed)
    draws = taken(sampler, used + ahead)
    resumed = MixingSampler(sizes, seed=seed)
    resumed.load_state_dict(sampler.state_dict(used))
    assert taken(resumed, ahead) == draws[used:]


@given(SIZES, SEED, st.booleans())
def test_every_epoch_of_a_data_set_holds_each_image_once(sizes: list[int], seed: int, shuffle: bool) -> None:
    seen: dict[tuple[int, int], list[int]] = {}
    for draw in taken(MixingSampler(sizes, seed=seed, shuffle=shuffle), 200):
        seen.setdefault((draw.source, draw.epoch), []).append(draw.index)
    last = {source: max(epoch for s, epoch in seen if s == source) for source, _ in seen}
    for (source, epoch), indices in seen.items():
        assert len(set(indices)) == len(indices)
        if epoch < last[source]:
            assert sorted(indices) == list(range(sizes[source]))
        if not shuffle:
            assert indices == sorted(indices)


@settings(max_examples=20)
@given(st.lists(st.floats(0, 10), min_size=2, max_size=4), SEED)
def test_weights_are_respected(weights: list[float], seed: int) -> None:
    """Within five standard deviations of the binomial distribution."""
    total = sum(weights)
    assume(total > 0.1)
    count = 4000
    drawn = Counter(draw.source for draw in taken(MixingSampler([5] * len(weights), weights, seed=seed), count))
    for source, weight in enumerate(weights):
        share = weight / total
        assert abs(drawn[source] - share * count) <= 5 * (count * share * (1 - share)) ** 0.5 + 1e-6
    assert all(drawn[source] == 0 for source, weight in enumerate(weights) if weight == 0)


@pytest.mark.parametrize("position", [0, 1, CHUNK - 1, CHUNK, 3 * CHUNK + 17])
def test_any_position_can_be_asked_for(position: int) -> None:
    sizes = [100, 7]
    assert MixingSampler(sizes, seed=3).at(position) == taken(MixingSampler(sizes, seed=3), position + 1)[-1]


def test_positions_may_be_asked_for_in_any_order() -> None:
    sampler = MixingSampler([100, 7], seed=3)
    draws = taken(MixingSampler([100, 7], seed=3), 2 * CHUNK)
    for position in (2 * CHUNK - 1, 5, CHUNK, CHUNK - 1, 0):
        assert sampler.at(position) == draws[position]


def test_orders_differ_by_seed_and_epoch() -> None:
    first, second = (taken(MixingSampler([500], seed=seed), 1000) for seed in (0, 1))
    assert [draw.index for draw in first] != [draw.index for draw in second]
    assert [draw.index for draw in first[:500]] != [draw.index for draw in first[500:]]


def test_a_position_has_its_own_randomness() -> None:
    one, two = (Draw(position=p, source=0, index=0, epoch=0) for p in (4, 5))
    assert draw_rng(1, one).random() == draw_rng(1, one).random()
    assert len({draw_rng(1, one).random(), draw_rng(1, two).random(), draw_rng(2, one).random()}) == 3


def test_states_of_other_orders_are_refused() -> None:
    state = MixingSampler([5, 5], seed=1).state_dict()
    for other in (MixingSampler([5, 5], seed=2), MixingSampler([5, 6], seed=1), MixingSampler([5, 5], [1, 2], seed=1)):
        with pytest.raises(OptionError, match="same seed"):
            other.load_state_dict(state)
    with pytest.raises(OptionError, match="position"):
        MixingSampler([5, 5], seed=1).load_state_dict({**state, "position": "3"})
    with pytest.raises(OptionError, match="taken"):
        MixingSampler([5]).state_dict(1)


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ([], {}),
        ([3, 0], {}),
        ([3], {"weights": [0]}),
        ([3], {"weights": [1, 2]}),
        ([3], {"weights": [-1]}),
        ([3], {"weights": [float("nan")]}),
        ([3], {"rank": 2, "world": 2}),
        ([3], {"seed": -1}),
    ],
)
def test_impossible_orders_are_refused(sizes: list[int], options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        MixingSampler(sizes, **options)  # type: ignore[arg-type]
