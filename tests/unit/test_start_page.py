"""The start page's words for the services: Kafka, capture and mirror are the speed layer, which nobody has to start."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import pytest

from rainbow.explore.start import Start
from rainbow.settings import PROJECT_ROOT

BATCH = ("postgres", "bigquery", "clickhouse")
STREAM = ("kafka", "capture", "mirror")
COMPLETE = "The services are up, and the figures are complete to Friday 29 December 2017."


def start(**states: str) -> Start:
    """A start page with services in these states; those of the batch layer are up unless said otherwise, the others down."""
    every = {**dict.fromkeys(BATCH, "up"), **dict.fromkeys(STREAM, "down"), **states}
    services: dict[str, dict[str, Any]] = {
        name: {"state": state, "url": None if state == "down" else "url"} for name, state in every.items()
    }
    return Start(services, cast(Any, None), "Friday 29 December 2017")


def test_without_a_speed_layer_nothing_is_amiss() -> None:
    page = start()
    assert page.answer().text == COMPLETE
    assert page.state().text.count("not started (the speed layer: `rainbow up --stream`)") == 3


def test_with_a_speed_layer_it_says_what_that_adds() -> None:
    page = start(kafka="up", capture="up", mirror="up")
    assert page.answer().text == f"{COMPLETE} What the shop has sold since comes from the speed layer, within a second."
    assert page.state().text.count("up") == 6


@pytest.mark.parametrize("states", [{"kafka": "up", "capture": "up"}, {"kafka": "up", "capture": "up", "mirror": "unhealthy"}])
def test_a_part_of_the_speed_layer_that_is_missing_is_named(states: dict[str, str]) -> None:
    assert start(**states).answer().text == f"{COMPLETE} The speed layer lacks mirror: `rainbow up --stream` starts what is local."


def test_what_the_batch_layer_cannot_do_without_comes_first() -> None:
    assert start(clickhouse="down").answer().text == "clickhouse is down: `rainbow up` starts what is local."


def test_the_start_page_leads_to_every_notebook() -> None:
    folder = PROJECT_ROOT / "notebooks"
    cells = json.loads((folder / "start.ipynb").read_text(encoding="utf-8"))["cells"]
    linked = set(re.findall(r"\]\(([\w/]+\.ipynb)\)", "".join(line for cell in cells for line in cell["source"])))
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts}
    assert linked == there - {"start.ipynb"}
