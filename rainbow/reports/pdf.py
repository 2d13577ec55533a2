"""A page as PDF, printed by a headless Chromium, where the machine has one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rainbow.errors import RainbowError

# the shell draws the same pages with a third of the work: it has no windows
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_FLAGS = ("--headless", "--disable-gpu", "--disable-extensions", "--no-first-run", "--no-pdf-header-footer", "--hide-scrollbars")
# a page draws its charts in a second or two; this is the time of the page's own clock
_DRAWN_AFTER_MS = 20_000
_TIMEOUT = 120


def chromium() -> str | None:
    """The path of a Chromium, Chrome or Edge; None when there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def print_page(page: Path) -> Path:
    """Print a page beside itself, as ``.pdf``; returns that. Raises RainbowError when there is no browser or it prints nothing."""
    browser = chromium()
    if browser is None:
        raise RainbowError("no browser to print with: install Chromium or Chrome, or print the page from any browser")
    pdf = page.with_suffix(".pdf")
    # Chromium refuses its sandbox to root; the page runs no script but its own
    root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory(prefix="rainbow-print-") as profile:
        part = Path(profile) / pdf.name
        options = (f"--user-data-dir={profile}/profile", f"--virtual-time-budget={_DRAWN_AFTER_MS}", f"--print-to-pdf={part}")
        try:
            subprocess.run([browser, *_FLAGS, *root, *options, page.as_uri()], capture_output=True, timeout=_TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            raise RainbowError(f"{browser} did not print {page.name} within {_TIMEOUT} s: print the page from a browser") from None
        if not part.exists():
            raise RainbowError(f"{browser} printed nothing of {page.name}: print the page from a browser")
        shutil.move(part, pdf)
    return pdf
