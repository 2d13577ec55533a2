"""A slice of the real shop, lived through and run as a person runs it: by the command line, in processes of their own."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rainbow.partitions.locks import FileLocks
from rainbow.settings import PROJECT_ROOT
from tests.integration.homes import Home
from tests.stack_keeper import keep

pytestmark = pytest.mark.services

FIRST, LAST = "2017-11-23", "2017-11-24"
# the command lines of README.md that only look
README_READS = sorted(
    {
        line
        for block in re.findall(r"^```\w*\n(.*?)^```", (PROJECT_ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
        if re.match(r"rainbow (partitions|plan|asset|query|status|doctor)\b", line)
    }
)
Digests = dict[str, list[object]]


@dataclass
class Shop:
    """A home in which the demo has lived through two days, and what it said."""

    home: Home
    reports: Path
    said: subprocess.CompletedProcess[str]

    def apart(self, name: str) -> dict[str, str]:
        """The environment of another lake and another warehouse over the same source."""
        lake = self.home.path / f"lake-{name}"
        return {
            "RAINBOW_LAKE_URL": f"file://{lake}",
            "RAINBOW_BIGQUERY_PROJECT": name,
            "RAINBOW_REPORTS_DIR": str(self.home.path / f"reports-{name}"),
        }


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with tempfile.TemporaryDirectory(prefix="rainbow-") as folder:
        path = Path(folder).resolve()
        keep(path)
        home = Home(path, {"RAINBOW_REPORTS_DIR": str(path / "reports")})
        try:
            yield Shop(home, path / "reports", home.run("demo", "--until", LAST))
        finally:
            home.run("down")


def contents(shop: Shop, name: str) -> Digests:
    """A digest of every table of a warehouse."""
    environment = {**os.environ, "RAINBOW_HOME": str(shop.home.path), **shop.apart(name)}
    script = Path(__file__).with_name("contents.py")
    answer = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    digests: Digests = json.loads(answer.stdout)
    assert len(digests) == 10 + 14
    return digests


@pytest.fixture(scope="module")
def undisturbed(shop: Shop) -> Digests:
    """The tables after both days were run one by one over the shop as it stands after them."""
    done = shop.home.run("backfill", FIRST, LAST, "--force", **shop.apart("daily"))
    assert done.returncode == 0, done.stderr
    return contents(shop, "daily")


def test_the_demo_ends_equal_to_the_data_set_to_the_cent(shop: Shop) -> None:
    assert shop.said.returncode == 0, shop.said.stderr
    assert "equal to the cent" in shop.said.stdout
    assert shop.said.stderr == ""


def test_every_day_has_a_report_and_its_executed_notebooks(shop: Shop) -> None:
    for day in (FIRST, LAST):
        folder = shop.reports / day
        assert (folder / "sales.html").stat().st_size < 2_000_000
        for name in ("extract", "load", "transform", "validate", "publish", "total_sales", "customer_ranking"):
            cells = json.loads((folder / f"{name}.ipynb").read_text())["cells"]
            outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
            assert outputs
            assert all(output["output_type"] != "error" for output in outputs)
    index = (shop.reports / "index.html").read_text()
    assert f"{FIRST}/sales.html" in index
    assert f"{LAST}/publish.html" in index


def test_the_demo_run_again_changes_nothing_and_says_so(shop: Shop) -> None:
    before = {path: path.stat().st_mtime_ns for path in (shop.home.path / "lake").rglob("*.parquet")}
    again = shop.home.run("demo", "--until", LAST)
    assert again.returncode == 0
    assert "nothing was changed" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (shop.home.path / "lake").rglob("*.parquet")} == before


def test_no_password_is_in_a_notebook_a_report_a_log_or_the_ledger(shop: Shop) -> None:
    passwords = set(re.findall(r"//[^:]*:([^@]+)@", (shop.home.path / "stack.env").read_text()))
    assert len(passwords) == 3
    looked = 0
    for path in shop.home.path.rglob("*"):
        if not path.is_file() or path.name in ("stack.env",) or "password" in path.name or "/data/" in str(path):
            continue
        looked += 1
        content = path.read_bytes()
        assert not [p for p in passwords if p.encode() in content], path
    assert looked > 50


@pytest.mark.parametrize("line", README_READS)
def test_a_command_of_the_readme_that_reads_does_so(shop: Shop, line: str) -> None:
    done = shop.home.run(*shlex.split(line, comments=True)[1:])
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_one_run_for_all_days_gives_the_same_tables_as_a_run_a_day(shop: Shop, undisturbed: Digests) -> None:
    done = shop.home.run("backfill", FIRST, LAST, "--force", "--mode", "single-run", **shop.apart("single"))
    assert done.returncode == 0, done.stderr
    found = contents(shop, "single")
    # the range's first day takes the baseline, so it is the same day in both
    assert found == undisturbed


def test_a_backfill_killed_at_any_moment_ends_equal_to_an_undisturbed_one(shop: Shop, undisturbed: Digests, sized: object) -> None:
    environment = {**os.environ, "RAINBOW_HOME": str(shop.home.path), **shop.apart("killed")}
    command = [sys.executable, "-c", "from rainbow.cli import main; main()", "backfill", FIRST, LAST, "--force"]
    moments = random.Random(5)
    for _ in range(sized(2, 20)):  # type: ignore[operator]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(2, 22))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = shop.home.run("backfill", FIRST, LAST, "--force", **shop.apart("killed"))
    assert done.returncode == 0, done.stderr
    assert contents(shop, "killed") == undisturbed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "2017-02-30"), "is not a day"),
        (("run", "2999-01-01"), "lies in the future"),
        (("backfill", "2017-12-02", "2017-12-01"), "ends before it starts"),
        (("backfill", FIRST, LAST, "--mode", "sideways", "--force"), "no mode"),
        (("query", "--on", "cellar", "select 1"), "no store"),
        (("query", "--on", "source", "delete from orders"), "source refuses"),
        (("query", "--on", "lake", "copy orders to 'x.csv'"), "for reading only"),
        (("query", "--on", "warehouse", "delete from raw.orders where true"), "for reading only"),
        (("query", "--on", "olap", "drop table batch.total_sales"), "for reading only"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(shop: Shop, words: tuple[str, ...], said: str) -> None:
    answer = shop.home.run(*words)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert len(answer.stderr.strip().splitlines()) == 1
    assert said in answer.stderr


def test_a_second_run_at_the_same_time_is_refused(shop: Shop) -> None:
    held = FileLocks(shop.home.path / "locks").take("batch", "somebody else")
    assert held
    answer = shop.home.run("run", LAST)
    held.let_go()
    assert answer.returncode == 1
    assert "another run is under way (somebody else)" in answer.stderr


def test_a_stopped_service_is_one_line_and_the_same_command_goes_on_later(shop: Shop) -> None:
    shop.home.run("down", "bigquery")
    answer = shop.home.run("run", LAST)
    shop.home.run("up")
    assert answer.returncode == 1
    assert len(answer.stderr.strip().splitlines()) == 1
    assert "bigquery" in answer.stderr.lower()
    assert shop.home.run("run", LAST).returncode == 0


def test_a_dropped_warehouse_is_made_again_from_the_lake(shop: Shop, undisturbed: Digests) -> None:
    code = (
        "from rainbow.warehouse.client import connect\nclient = connect()\n"
        "for dataset in ('raw', 'staging', 'warehouse'): client.delete_dataset(dataset, delete_contents=True)"
    )
    environment = {**os.environ, "RAINBOW_HOME": str(shop.home.path), **shop.apart("daily")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    done = shop.home.run("run", LAST, **shop.apart("daily"))
    assert done.returncode == 0, done.stderr
    assert contents(shop, "daily") == undisturbed


def by_hand(shop: Shop, *words: str) -> subprocess.CompletedProcess[str]:
    """A command that is not ours, in the project's folder."""
    environment = {**os.environ, "RAINBOW_HOME": str(shop.home.path), "RAINBOW_REPORTS_DIR": str(shop.reports)}
    tool = Path(sys.executable).with_name(words[0])
    return subprocess.run([str(tool), *words[1:]], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)


def test_ploomber_builds_the_partition_it_is_told_and_else_the_newest(shop: Shop) -> None:
    folder = shop.home.path / "by-hand"
    for words, name in ((("--env--partition_date", FIRST), FIRST), ((), "latest")):
        built = by_hand(shop, "ploomber", "build", *words, "--env--reports", str(folder))
        assert built.returncode == 0, built.stderr[-2000:]
        assert (folder / name / "sales.html").exists()
        assert f"extract {FIRST if words else LAST}: nothing new" in (folder / name / "extract.ipynb").read_text()


def test_a_notebook_runs_by_papermill_alone(shop: Shop) -> None:
    out = shop.home.path / "out.ipynb"
    ran = by_hand(shop, "papermill", "notebooks/batch/extract.ipynb", str(out), "-p", "partition_date", FIRST)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert f"extract {FIRST}: nothing new" in out.read_text()


def test_ctrl_c_is_one_line_and_holds_up_no_one(shop: Shop) -> None:
    environment = {**os.environ, "RAINBOW_HOME": str(shop.home.path), "RAINBOW_REPORTS_DIR": str(shop.reports)}
    command = [sys.executable, "-c", "from rainbow.cli import main; main()", "backfill", FIRST, LAST, "--force"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    begun = time.monotonic()
    while f"process {process.pid}" not in (FileLocks(shop.home.path / "locks").owner("batch") or ""):
        assert time.monotonic() - begun < 60
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines() == ["rainbow: interrupted; the same command goes on where this one stopped"]
    assert shop.home.run("run", FIRST).returncode == 0


def test_a_full_disk_is_one_line(shop: Shop) -> None:
    """No file may grow past 30 kB, as on a disk that is full; the ledger is the first that would."""
    import resource

    done = subprocess.run(
        [sys.executable, "-c", "from rainbow.cli import main; main()", "run", LAST],
        env={**os.environ, "RAINBOW_HOME": str(shop.home.path), "RAINBOW_REPORTS_DIR": str(shop.reports)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == ["rainbow: the disk is full (the ledger): free some space, then run the same command again"]
    assert shop.home.run("run", LAST).returncode == 0
