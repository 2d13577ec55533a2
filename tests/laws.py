"""Laws over random histories on real services: few examples, the same each time, in `make test`; many, new ones, in `make soak`."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, settings


def examples(sized: Callable[[int, int], int], few: int, many: int, *, smaller: bool = False) -> settings:
    """Hypothesis's settings for a law whose example takes a second; one that fails is shown as it is, or made ``smaller``, for minutes."""
    return settings(
        max_examples=sized(few, many),
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if smaller else [])],
        suppress_health_check=list(HealthCheck),
        derandomize=sized(1, 0) == 1,
    )
