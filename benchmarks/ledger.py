"""The ledger's own cost: three years of partitions, read as people read them, and what a run of a day adds.

    python benchmarks/ledger.py [--days 1095]

A ledger is filled with a materialization of every asset for each day, in a temporary folder; then `rainbow partitions` and
`rainbow plan` are run as whole processes, and a plan and a step are timed in this one. No service is started.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from statistics import median

FIRST = date(2021, 1, 1)


def fill(days: int) -> None:
    """Every asset of every day, made from what its sources were."""
    from rainbow.batch.materialize import settle, settle_report
    from rainbow.checks import Check
    from rainbow.partitions.assets import REPORT, STEPS, made_by
    from rainbow.partitions.dates import PartitionRange
    from rainbow.partitions.ledger import Ledger

    ledger = Ledger()
    whole = PartitionRange(FIRST, FIRST + timedelta(days=days - 1))
    run = ledger.begin(whole, f"run of {whole}")
    for step in STEPS:
        with ledger.step(run, step, whole):
            if step == "report":
                settle_report(run, REPORT, whole)
            elif step != "validate":
                content = {(one.name, day): f"{day}" for one in made_by(step) if not one.upstream for day in whole}
                settle(run, step, whole, content=content)
    for day in whole:
        ledger.record_checks(run, day, [Check(f"check_{n}", "fact_sales", True) for n in range(140)])
    ledger.end(run)


def command(*words: str) -> float:
    """Seconds of a command, the median of five runs."""
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "from rainbow.cli import main; main()", *words], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return round(median(taken), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=1095)
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="rainbow-benchmark-"))
    os.environ |= {"RAINBOW_HOME": str(home), "RAINBOW_REPORTS_DIR": str(home / "reports"), "PLOOMBER_STATS_ENABLED": "false"}
    try:
        from rainbow.batch.materialize import settle
        from rainbow.partitions.assets import assets, made_by
        from rainbow.partitions.dates import PartitionRange
        from rainbow.partitions.ledger import Ledger
        from rainbow.partitions.plan import make_plan

        fill(arguments.days)
        day = FIRST + timedelta(days=arguments.days)
        one = PartitionRange(day, day)
        began = time.perf_counter()
        make_plan(one)
        plan = time.perf_counter() - began
        ledger = Ledger()
        run = ledger.begin(one, f"run of {one}")
        began = time.perf_counter()
        with ledger.step(run, "extract", one):
            settle(run, "extract", one, content={(a.name, day): "x" for a in made_by("extract")})
        with ledger.step(run, "load", one):
            settle(run, "load", one)
        with ledger.step(run, "transform", one):
            settle(run, "transform", one, whole=True)
        steps = time.perf_counter() - began
        ledger.end(run)
        measured = {
            "partitions": arguments.days,
            "assets": len(assets()),
            "ledger MB": round(sum(f.stat().st_size for f in home.glob("ledger*")) / 1e6, 1),
            "rainbow --help": command("--help"),
            "rainbow partitions": command("partitions"),
            "rainbow partitions --json": command("partitions", "--json"),
            "rainbow plan, one day": command("plan", str(day)),
            "a plan within a run": round(plan, 3),
            "noting a step": round(steps / 3, 3),
        }
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
