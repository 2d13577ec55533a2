"""Seeded draws: the same on any machine, with any neighbours, and as often as their weights say."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rainbow.datasets.draws import Draws, shares


def test_draws_are_the_same_with_any_version_of_any_library() -> None:
    drawn = Draws(20_240_801).bits("price", np.arange(4), 7).tolist()
    assert drawn == [767460973326632181, 18282289574559470283, 16570671472248818530, 16657238795394873509]


@given(seed=st.integers(0, 2**64 - 1), keys=st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
def test_a_draw_does_not_depend_on_its_neighbours(seed: int, keys: list[int]) -> None:
    draws = Draws(seed)
    together = draws.below(1_000, "name", np.array(keys), 3)
    assert together.tolist() == [int(draws.below(1_000, "name", key, 3)[0]) for key in keys]


def test_seed_name_and_keys_each_change_the_draw() -> None:
    of = Draws(1).bits("a", 1, 2)[0]
    others = [Draws(2).bits("a", 1, 2)[0], Draws(1).bits("b", 1, 2)[0], Draws(1).bits("a", 2, 1)[0], Draws(1).bits("a", 1)[0]]
    assert len({of, *others}) == 5


def test_weights_are_kept_and_a_weight_of_nothing_is_never_drawn() -> None:
    drawn = np.bincount(Draws(1).weighted((1, 0, 3), "w", np.arange(40_000)), minlength=3)
    assert drawn[1] == 0
    assert abs(drawn[0] - 10_000) < 400


def test_an_order_is_a_permutation() -> None:
    assert sorted(Draws(1).order(1_000, "o").tolist()) == list(range(1_000))


@given(total=st.integers(0, 10**9), weights=st.lists(st.integers(0, 10**6), min_size=1, max_size=40).filter(any))
def test_shares_sum_to_the_total_and_are_within_one_of_their_part(total: int, weights: list[int]) -> None:
    parts = shares(total, weights)
    assert parts.sum() == total
    assert all(abs(int(part) * sum(weights) - total * weight) < sum(weights) for part, weight in zip(parts, weights, strict=True))
