"""Reports: 37 days drawn anew from what is published, as `rainbow backfill --select report/sales --force` does it.

    python benchmarks/reports.py [--home FOLDER]

The demo is lived through in a temporary folder first, about four minutes; `--home` takes a RAINBOW_HOME in which it has been, whose
services are up. Reported are the seconds of the whole command, the CPU's seconds in it (without ClickHouse's), those of each report, and the largest page.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

DAYS = ("2017-11-23", "2017-12-29")
RAINBOW = str(Path(sys.executable).parent / "rainbow")


def run(*words: str, environment: dict[str, str]) -> tuple[str, float]:
    """What a command said, and its seconds."""
    began = time.perf_counter()
    done = subprocess.run([RAINBOW, *words], env=environment, capture_output=True, text=True, check=True)
    return done.stdout, time.perf_counter() - began


def measure(environment: dict[str, str], reports: Path, processes: int) -> dict[str, object]:
    """Draw all reports anew."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said, seconds = run("backfill", *DAYS, "--select", "report/sales", "--force", "--max-parallel", str(processes), environment=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    each = [float(found) for found in re.findall(r"^\d{4}-\d\d-\d\d  report +([\d.]+) s", said, flags=re.MULTILINE)]
    pages = [page.stat().st_size for page in reports.glob("*/sales.html")]
    return {
        "processes": processes,
        "reports": len(each),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "seconds_of_a_report": {"median": median(each), "longest": max(each)},
        "largest_page_bytes": max(pages),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rainbow-reports-") as folder:
        home = options.home or Path(folder) / "home"
        reports = Path(folder) / "reports"
        environment = {**os.environ, "RAINBOW_HOME": str(home), "RAINBOW_REPORTS_DIR": str(reports)}
        if options.home is None:
            run("demo", "--quiet", environment=environment)
        try:
            print(json.dumps(measure(environment, reports, options.processes), indent=2))
        finally:
            if options.home is None:
                run("down", environment=environment)


if __name__ == "__main__":
    main()
