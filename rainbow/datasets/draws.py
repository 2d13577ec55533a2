"""Seeded draws that need no state: what is drawn depends on the seed, the name of the draw and its keys, and on nothing else.

So a day can be made alone, in any order, and is the same day. It is integers throughout (SplitMix64's finalizer, Steele, Lea and
Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): no draw depends on the version of a library or on a platform.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_A = np.uint64(0xBF58476D1CE4E5B9)
_B = np.uint64(0x94D049BB133111EB)


class Draws:
    """Draws from one seed. Keys are integer arrays, or single integers, that are broadcast together; results are int64 arrays."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def bits(self, name: str, *keys: npt.ArrayLike) -> npt.NDArray[np.uint64]:
        """64 random bits for each combination of keys."""
        with np.errstate(over="ignore"):
            state = _mix(np.atleast_1d(np.uint64(self.seed & 0xFFFFFFFFFFFFFFFF)) + np.uint64(zlib.crc32(name.encode())) * _GOLDEN)
            for key in keys:
                state = _mix(state + _GOLDEN + np.asarray(key).astype(np.uint64))
        return state

    def below(self, n: npt.ArrayLike, name: str, *keys: npt.ArrayLike) -> Ints:
        """An integer from 0 to ``n`` - 1 for each combination of keys; ``n`` is far below 2**64, so the remainder is fair enough."""
        return (self.bits(name, *keys) % np.asarray(n).astype(np.uint64)).astype(np.int64)

    def weighted(self, weights: npt.ArrayLike, name: str, *keys: npt.ArrayLike) -> Ints:
        """The index of one of ``weights`` (integers, not negative) for each combination of keys, as often as its weight says."""
        cumulated = np.cumsum(np.asarray(weights, dtype=np.int64))
        return np.searchsorted(cumulated, self.below(int(cumulated[-1]), name, *keys), side="right").astype(np.int64)

    def order(self, n: int, name: str) -> Ints:
        """A permutation of 0 .. ``n`` - 1."""
        return np.argsort(self.bits(name, np.arange(n)), kind="stable").astype(np.int64)


def shares(total: int, weights: npt.ArrayLike) -> Ints:
    """``total`` split into whole numbers in proportion to the integer ``weights``, by largest remainder; they sum to ``total``."""
    parts = np.asarray(weights, dtype=np.int64)
    whole = int(parts.sum())
    exact = [total * int(part) for part in parts]
    floor = np.array([e // whole for e in exact], dtype=np.int64)
    remainder = np.array([e % whole for e in exact], dtype=object)
    largest = sorted(range(len(parts)), key=lambda i: (-remainder[i], i))[: total - int(floor.sum())]
    floor[largest] += 1
    return floor


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _A
    state = (state ^ (state >> np.uint64(27))) * _B
    return state ^ (state >> np.uint64(31))
