"""The catalogue's pages, written after each run from what the ledger knows."""

from __future__ import annotations

from pathlib import Path

from rainbow.partitions.catalogue import gather
from rainbow.reports import catalogue as pages
from rainbow.settings import settings


def write_catalogue() -> Path:
    """Write the catalogue's pages; returns the first, ``index.html``."""
    return pages.write(gather(), settings().reports_dir)
