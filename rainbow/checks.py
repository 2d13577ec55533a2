"""Checks: what was looked at, whether it held, and the rows that show where it did not.

A check of severity ``error`` stops what lies downstream; a ``warning`` is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from rainbow.errors import CheckError

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Check:
    """The outcome of a check of an asset; ``failing`` counts the rows at fault and ``sample`` shows some of them."""

    name: str
    asset: str
    passed: bool
    detail: str = ""
    severity: Severity = "error"
    failing: int = 0
    sample: tuple[dict[str, Any], ...] = field(default=())

    @property
    def stops(self) -> bool:
        """Whether what is downstream must not run."""
        return not self.passed and self.severity == "error"


def require(checks: Iterable[Check]) -> tuple[Check, ...]:
    """The checks, when none of them stops. Raises CheckError that names the first that does and counts the others."""
    checks = tuple(checks)
    stopping = [check for check in checks if check.stops]
    if stopping:
        first = stopping[0]
        more = f" (and {len(stopping) - 1} more)" if len(stopping) > 1 else ""
        error = CheckError(f"check {first.name} of {first.asset} failed: {first.detail}{more}; nothing downstream was changed")
        error.checks = checks
        raise error
    return checks
