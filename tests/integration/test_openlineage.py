"""Lineage of real runs, from the command line, in a file."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rainbow.partitions.assets import STEPS, made_by
from rainbow.source.schema import create_schema
from tests.integration.homes import Home, home
from tests.integration.small_shop import DAY_1, DAY_2, at, open_shop, sell

pytestmark = pytest.mark.services

Event = dict[str, Any]


@dataclass
class Shop:
    """A home with a day that was run, and one that failed for want of a service."""

    home: Home
    file: Path

    def events(self, day: date) -> list[Event]:
        found = [json.loads(line) for line in self.file.read_text().splitlines()]
        return [one for one in found if one["run"]["facets"]["nominalTime"]["nominalStartTime"].startswith(str(day))]


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with home() as place:
        file = place.path / "events.jsonl"
        place.environment |= {"RAINBOW_REPORTS_DIR": str(place.path / "reports"), "RAINBOW_OPENLINEAGE_URL": f"file://{file}"}
        place.up()
        with psycopg.connect(place.url("postgres"), autocommit=True) as connection:
            create_schema(connection)
            open_shop(connection)
            sell(connection, 1, at(DAY_1), lines=(1, 2, 3))
            sell(connection, 9, at(DAY_2))
        done = place.run("run", str(DAY_1))
        assert done.returncode == 0, done.stderr
        place.run("down", "bigquery")
        assert place.run("run", str(DAY_2)).returncode == 1
        yield Shop(place, file)


def test_each_step_begins_and_completes_within_its_run(shop: Shop) -> None:
    told = [(one["eventType"], one["job"]["name"]) for one in shop.events(DAY_1)]
    of_steps = [(state, f"batch.{step}") for step in STEPS for state in ("START", "COMPLETE")]
    assert told == [("START", "batch"), *of_steps, ("COMPLETE", "batch")]


def test_every_asset_is_an_output_once_and_what_a_step_reads_another_has_made(shop: Shop) -> None:
    ended = [one for one in shop.events(DAY_1) if one["eventType"] == "COMPLETE"]
    outputs = [(one["namespace"], one["name"]) for event in ended for one in event["outputs"]]
    inputs = {(one["namespace"], one["name"]) for event in ended for one in event["inputs"]}
    assert len(outputs) == len(set(outputs)) == sum(len(made_by(step)) for step in STEPS)
    others = inputs - set(outputs) - {("bigquery", "rainbow.warehouse.dim_dates")}
    assert {namespace.partition(":")[0] for namespace, _ in others} == {"postgres"}


def test_rows_and_checks_are_those_of_the_run(shop: Shop) -> None:
    steps = {one["job"]["name"]: one for one in shop.events(DAY_1) if one["eventType"] == "COMPLETE"}
    lines = {one["name"].rpartition("/")[2]: one for one in steps["batch.extract"]["outputs"]}["orderdetails"]
    assert lines["outputFacets"]["outputStatistics"]["rowCount"] == 3
    assert lines["outputFacets"]["outputStatistics"]["size"] > 0
    told = Counter(
        (assertion["name"], assertion["success"])
        for step in steps.values()
        for one in (*step["inputs"], *step["outputs"])
        for facets in (one["facets"], one.get("inputFacets", {}))
        for assertion in facets.get("dataQualityAssertions", {"assertions": []})["assertions"]
    )
    with closing(sqlite3.connect(shop.home.path / "ledger.sqlite")) as ledger:
        query = "select name, passed from checks join runs using (run) where runs.status = 'done'"
        noted = Counter((name, bool(passed)) for name, passed in ledger.execute(query))
    assert told == noted
    assert noted.total() > 100


def test_a_run_that_failed_says_why(shop: Shop) -> None:
    *_, step, run = shop.events(DAY_2)
    assert (step["eventType"], run["eventType"], run["job"]["name"]) == ("FAIL", "FAIL", "batch")
    assert "bigquery" in step["run"]["facets"]["errorMessage"]["message"].lower()


def test_no_password_is_told(shop: Shop) -> None:
    passwords = set(re.findall(r"//[^:]*:([^@]+)@", (shop.home.path / "stack.env").read_text()))
    assert len(passwords) >= 2
    text = shop.file.read_text()
    assert not [password for password in passwords if password in text]
    assert not (shop.home.path / "logs" / "openlineage.log").exists()
