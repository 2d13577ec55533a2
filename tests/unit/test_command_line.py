"""The command line itself: what it says when it is asked about itself, and of words that it does not know."""

from __future__ import annotations

from datetime import date, timedelta
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from rainbow.cli import add_commands, app
from rainbow.cli.partitions import month_labels


@pytest.fixture(scope="module")
def rainbow() -> CliRunner:
    add_commands(app)
    return CliRunner()


def test_it_tells_its_version(rainbow: CliRunner) -> None:
    result = rainbow.invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"rainbow {version('rainbow-workbench')}\n")


def test_the_list_of_commands_has_a_line_or_two_for_each_at_80_columns(rainbow: CliRunner) -> None:
    shown = rainbow.invoke(app, ["-h"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).output
    listed = shown.split("Commands")[1].splitlines()[1:-1]
    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    assert len(names) > 15
    assert len(listed) <= 2 * (len(names) + 1)
    words = " ".join(" ".join(listed).replace("│", " ").split())
    assert "up Start the local services that no setting names, and wait until they answer. down" in words


@pytest.mark.parametrize(
    ("first", "days", "label"),
    [
        ("2017-11-23", 2, "2017-11"),
        ("2017-11-23", 37, "2017-11 2017-12"),
        ("2017-11-24", 37, "       2017-12"),
        ("2017-12-02", 31, f"2017-12{' ' * 23}2018-01"),
    ],
)
def test_months_stand_over_their_first_day_and_never_on_each_other(first: str, days: int, label: str) -> None:
    shown = [date.fromisoformat(first) + timedelta(days=n) for n in range(days)]
    assert month_labels(shown) == label


def test_its_help_names_each_command_and_a_word_that_is_none_is_refused(rainbow: CliRunner) -> None:
    shown = rainbow.invoke(app, ["-h"])
    assert shown.exit_code == 0
    assert all(name in shown.output for name in ("up", "run", "backfill", "stream", "reconcile"))
    refused = rainbow.invoke(app, ["bakfill"])
    assert refused.exit_code == 2
    assert "No such command 'bakfill'" in refused.output
