"""Lineage: what an endpoint is told of runs and steps, in which order, and that it can never hurt them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attr
import pytest
from openlineage.client import facet_v2
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.serde import Serde

from rainbow.batch.context import ended_with, step_of_run, within
from rainbow.checks import Check
from rainbow.errors import CheckError, SettingsError
from rainbow.partitions import openlineage
from rainbow.partitions.assets import made_by
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.records import Made
from rainbow.settings import read_settings, settings

DAY = date(2024, 9, 1)
DAYS = PartitionRange(DAY, DAY)
Event = dict[str, Any]
Set = Callable[..., None]

CHECKS = [
    Check("rows_within_band", "lake/orders", True, "7 rows"),
    Check("no_negative_amount", "lake/orders", False, "2 rows below zero", "warning", 2, ({"id": 4711},)),
]


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which dbt's project is compiled once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def configured(workbench: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Set]:
    """Settings, to be set; the log is empty."""

    def configure(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"RAINBOW_{name.upper()}", value)
        settings.cache_clear()

    monkeypatch.setenv("RAINBOW_HOME", str(workbench))
    (workbench / "logs" / "openlineage.log").unlink(missing_ok=True)
    configure(
        postgres_url="postgresql://shop:pg-secret@db.example.com:6543/Rainbow",
        clickhouse_url="https://olap:ch-secret@olap.example.com",
        lake_url="gs://example-lake/rainbow",
        bigquery_project="example",
        reports_dir="/srv/reports",
    )
    yield configure
    monkeypatch.undo()
    settings.cache_clear()


def run_once(step: str = "extract", error: BaseException | None = None) -> str:
    """A run of one step, as the runner makes it, which makes seven orders."""
    ledger = Ledger()
    with ended_with(ledger.begin(DAYS, f"run of {DAY}")) as run, within(run), step_of_run(step, DAYS):
        ledger.record(run, [Made("lake/orders", DAY, "code", "data", rows=7, bytes=700, metadata={"files": 1})])
        ledger.record_checks(run, DAY, CHECKS)
        if error:
            raise error
    return run


@pytest.fixture
def events(configured: Set, tmp_path: Path) -> Callable[[], list[Event]]:
    """The events that were written to a file."""
    path = tmp_path / "out" / "events.jsonl"
    configured(openlineage_url=f"file://{path}")
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


def told(found: list[Event]) -> list[tuple[str, str]]:
    return [(event["eventType"], event["job"]["name"]) for event in found]


def dataset(found: list[Event], name: str) -> Event:
    (one,) = (one for one in found if one["name"].endswith(name))
    return one


def test_a_run_and_its_step_begin_and_end_in_order(events: Callable[[], list[Event]]) -> None:
    run_once()
    assert told(events()) == [("START", "batch"), ("START", "batch.extract"), ("COMPLETE", "batch.extract"), ("COMPLETE", "batch")]
    run, step, *_ = events()
    assert {event["run"]["runId"] for event in events()} == {run["run"]["runId"], step["run"]["runId"]}
    assert step["run"]["facets"]["parent"]["run"]["runId"] == run["run"]["runId"]
    for event in events():
        assert event["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2024-09-01T00:00:00+00:00"
        assert event["run"]["facets"]["nominalTime"]["nominalEndTime"] == "2024-09-02T00:00:00+00:00"
        assert event["schemaURL"].startswith("https://openlineage.io/spec/2-0-2/")


def test_a_step_that_is_run_by_itself_is_a_run_too(events: Callable[[], list[Event]]) -> None:
    with step_of_run("load", DAYS):
        pass
    assert told(events()) == [("START", "batch"), ("START", "batch.load"), ("COMPLETE", "batch.load"), ("COMPLETE", "batch")]


def test_datasets_are_called_as_other_tools_call_them(events: Callable[[], list[Event]]) -> None:
    for step in ("extract", "load", "transform", "validate", "publish", "report"):
        run_once(step)
    named = {
        (side, event["job"]["name"], one["namespace"], one["name"])
        for event in events()
        for side in ("inputs", "outputs")
        for one in event[side]
    }
    assert named >= {
        ("inputs", "batch.extract", "postgres://db.example.com:6543", "Rainbow.public.orders"),
        ("outputs", "batch.extract", "gs://example-lake", "rainbow/orders"),
        ("inputs", "batch.load", "gs://example-lake", "rainbow/orders"),
        ("outputs", "batch.load", "bigquery", "example.raw.orders"),
        ("inputs", "batch.transform", "bigquery", "example.raw.orders"),
        ("outputs", "batch.transform", "bigquery", "example.warehouse.fact_sales"),
        ("inputs", "batch.validate", "bigquery", "example.warehouse.total_sales"),
        ("outputs", "batch.publish", "clickhouse://olap.example.com:8443", "batch.total_sales"),
        ("outputs", "batch.report", "file", "/srv/reports/sales"),
    }


def test_what_was_made_is_described(events: Callable[[], list[Event]]) -> None:
    run_once()
    begun, ended = events()[1:3]
    assert len(begun["outputs"]) == len(ended["outputs"]) == len(made_by("extract"))
    orders = dataset(ended["outputs"], "/orders")
    assert {key: orders["outputFacets"]["outputStatistics"][key] for key in ("rowCount", "size", "fileCount")} == {
        "rowCount": 7,
        "size": 700,
        "fileCount": 1,
    }
    assert orders["facets"]["version"]["datasetVersion"] == "data"
    fields = {one["name"]: one.get("type") for one in orders["facets"]["schema"]["fields"]}
    assert fields["created_at"] == "timestamp[us, tz=UTC]"
    assert fields["_deleted"] == "bool"
    assert "outputStatistics" not in dataset(ended["outputs"], "/brands").get("outputFacets", {})


def test_the_checks_of_the_step_are_told_without_the_rows_that_they_found(events: Callable[[], list[Event]]) -> None:
    run_once()
    ended = events()[2]
    passed, failed = dataset(ended["outputs"], "/orders")["facets"]["dataQualityAssertions"]["assertions"]
    assert (passed["assertion"], passed["success"], passed["severity"]) == ("rows_within_band", True, "error")
    assert (failed["assertion"], failed["success"], failed["severity"], failed["actual"]) == (
        "no_negative_amount",
        False,
        "warn",
        "2 rows at fault",
    )
    assert "4711" not in json.dumps(events())


def test_checks_of_what_a_step_reads_stand_at_its_inputs(events: Callable[[], list[Event]]) -> None:
    ledger = Ledger()
    with ended_with(ledger.begin(DAYS, "run")) as run, within(run), step_of_run("validate", DAYS):
        ledger.record_checks(run, DAY, [Check("unique", "fact_sales", True)])
    fact = dataset(events()[2]["inputs"], "fact_sales")
    assert [one["assertion"] for one in fact["inputFacets"]["dataQualityAssertions"]["assertions"]] == ["unique"]


@pytest.mark.parametrize(("error", "state"), [(CheckError("check unique of fact_sales failed"), "FAIL"), (KeyboardInterrupt(), "ABORT")])
def test_a_run_that_fails_says_why_and_one_that_is_stopped_is_aborted(
    events: Callable[[], list[Event]], error: BaseException, state: str
) -> None:
    with pytest.raises(type(error)):
        run_once(error=error)
    assert told(events())[2:] == [(state, "batch.extract"), (state, "batch")]
    for event in events()[2:]:
        assert event["run"]["facets"]["errorMessage"]["message"] == (str(error) or "KeyboardInterrupt")


def test_no_password_is_in_an_event(events: Callable[[], list[Event]]) -> None:
    with suppress(CheckError):
        run_once(error=CheckError("nothing answers at postgresql://shop:pg-secret@db.example.com"))
    run_once("publish")
    assert "***@db.example.com" in json.dumps(events())
    assert "secret" not in json.dumps(events())


def test_every_event_is_what_the_client_s_own_classes_make_of_it(events: Callable[[], list[Event]]) -> None:
    with suppress(CheckError):
        run_once(error=CheckError("no"))
    for step in ("extract", "load", "transform", "validate", "publish", "report"):
        run_once(step)
    for event in events():
        assert Serde.to_dict(read_back(event)) == event


FACETS = {
    kind._get_schema(): kind
    for module in vars(facet_v2).values()
    if hasattr(module, "__file__")
    for kind in vars(module).values()
    if isinstance(kind, type) and attr.has(kind) and hasattr(kind, "_get_schema")
}


def read_back(event: Event) -> RunEvent:
    """An event, made again from its JSON: an unknown field or facet, or a value of the wrong kind, is an error."""

    def facets(found: Event) -> Event:
        return {name: facet(dict(one)) for name, one in found.items()}

    def facet(one: Event) -> Any:
        kind = FACETS[one.pop("_schemaURL")]
        return kind(**{name.removeprefix("_"): value for name, value in one.items()})

    def datasets(kind: Any, found: list[Event], own: str) -> list[Any]:
        return [kind(one["namespace"], one["name"], facets=facets(one["facets"]), **{own: facets(one[own])}) for one in found]

    assert event["schemaURL"] == RunEvent._get_schema()
    return RunEvent(
        eventType=RunState(event["eventType"]),
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=Run(event["run"]["runId"], facets(event["run"]["facets"])),
        job=Job(event["job"]["namespace"], event["job"]["name"], facets(event["job"]["facets"])),
        inputs=datasets(InputDataset, event["inputs"], "inputFacets"),
        outputs=datasets(OutputDataset, event["outputs"], "outputFacets"),
    )


@dataclass
class Receiver:
    """An endpoint that keeps what it is sent, and answers after some seconds with a status."""

    url: str
    seconds: float = 0
    status: int = 201
    received: list[Event] = field(default_factory=list)
    signed_in: list[str | None] = field(default_factory=list)


@contextmanager
def receiving(**answers: Any) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(receiver.seconds)
            receiver.received.append({"path": self.path, **json.loads(body)})
            receiver.signed_in.append(self.headers["Authorization"])
            with suppress(OSError):
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}/api/v1/lineage", **answers)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield receiver
        finally:
            server.shutdown()


def test_an_endpoint_receives_the_events_in_order(configured: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    # a proxy is for the world outside
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with receiving() as receiver:
        configured(openlineage_url=receiver.url.replace("//", "//user:ol-secret@"))
        run_once()
    assert told(receiver.received) == [("START", "batch"), ("START", "batch.extract"), ("COMPLETE", "batch.extract"), ("COMPLETE", "batch")]
    assert {event["path"] for event in receiver.received} == {"/api/v1/lineage"}
    assert all(word and word.startswith("Basic ") for word in receiver.signed_in)
    assert not openlineage.log().exists()


def lines_of_the_log() -> list[str]:
    return openlineage.log().read_text().splitlines()


def timed() -> float:
    """The seconds of a run, after one that imports what there is to import."""
    begun = time.perf_counter()
    run_once()
    return time.perf_counter() - begun


def test_a_refused_port_costs_a_run_a_line_in_the_log_and_less_than_two_seconds(configured: Set) -> None:
    configured(openlineage_url="http://user:ol-secret@127.0.0.1:9/api/v1/lineage")
    assert timed() < 2
    assert timed() < 2
    first, second = lines_of_the_log()
    assert "no more lineage is sent for it" in first
    assert "refused" in second
    assert "ol-secret" not in first + second


def test_a_slow_endpoint_costs_a_run_less_than_two_seconds(configured: Set) -> None:
    with receiving(seconds=3) as receiver:
        configured(openlineage_url=receiver.url)
        assert timed() < 2
        assert timed() < 2
    assert ["slow" in line for line in lines_of_the_log()] == [True, True]


def test_an_endpoint_that_answers_with_an_error_is_given_up_for_the_run(configured: Set) -> None:
    with receiving(status=500) as receiver:
        configured(openlineage_url=receiver.url)
        run_once()
        assert len(receiver.received) == 1
    assert len(lines_of_the_log()) == 1


def test_a_file_that_cannot_be_written_fails_no_run(configured: Set, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file, no folder")
    configured(openlineage_url=f"file://{tmp_path}/out/events.jsonl")
    run = run_once()
    assert Ledger().run(run).status == "done"  # type: ignore[union-attr]
    assert len(lines_of_the_log()) == 1


def test_a_fault_of_our_own_fails_no_run(configured: Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured(openlineage_url=f"file://{tmp_path}/events.jsonl")
    monkeypatch.setattr("rainbow.partitions.openlineage_events.event", lambda *_, **__: 1 / 0)
    run = run_once()
    assert Ledger().run(run).status == "done"  # type: ignore[union-attr]
    assert "division by zero" in lines_of_the_log()[0]


def test_without_the_setting_nothing_is_sent_and_the_client_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom datetime import date\nfrom rainbow.batch.context import step_of_run\n"
        "from rainbow.partitions.dates import PartitionRange\n"
        "with step_of_run('load', PartitionRange(date(2024, 9, 1), date(2024, 9, 1))): pass\n"
        "sys.exit(any(name.startswith('openlineage') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"RAINBOW_HOME": str(tmp_path)}, check=False)
    assert done.returncode == 0
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("url", ["ftp://example.com", "events.jsonl", "kafka:topic"])
def test_another_kind_of_address_is_refused(configured: Set, url: str) -> None:
    configured(openlineage_url=url)
    with pytest.raises(SettingsError, match=r"RAINBOW_OPENLINEAGE_URL: .*neither file:///path/events.jsonl nor"):
        read_settings()
