"""The data sets by name."""

from __future__ import annotations

from functools import lru_cache

from rainbow.datasets.shop import Dataset
from rainbow.errors import DataError

NAMES = ("completejourney", "synthetic")


@lru_cache(maxsize=4)
def open_dataset(name: str, seed: int = 1, scale: float = 1.0) -> Dataset:
    """The data set of this name, kept for the rest of the process as opening costs seconds.

    ``scale`` makes the synthetic one smaller. Raises DataError for a name that is not one of ``NAMES``.
    """
    if name == "completejourney":
        from rainbow.datasets.completejourney import CompleteJourney

        return CompleteJourney(seed)
    if name == "synthetic":
        from rainbow.datasets.synthetic import Synthetic

        return Synthetic(seed, scale)
    raise DataError(f"there is no data set {name!r}: choose one of {', '.join(NAMES)}")
