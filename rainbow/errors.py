"""The errors a user can act on. The command line prints their one line and exits non-zero; nothing else is caught there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rainbow.checks import Check


class RainbowError(Exception):
    """Something a user can put right; the message says what happened, to what, and what to do next, in one line."""


class SettingsError(RainbowError):
    """A setting is missing or has a value that cannot be used."""


class ServiceError(RainbowError):
    """A service that the settings name does not answer, or refuses."""


class LockedError(RainbowError):
    """Another run is under way."""


class PartitionError(RainbowError):
    """A partition date that does not exist, lies in the future, or a range that ends before it starts."""


class DataError(RainbowError):
    """Data that cannot be taken as it is: a corrupt file, an unknown column, a value outside its type."""


class CheckError(RainbowError):
    """A check of severity error failed; what lies downstream of it was not run. ``checks`` are all that were made with it."""

    checks: Sequence[Check] = ()
