"""The command line. Each module here adds its commands; what they do lives elsewhere in ``rainbow`` and is imported when called."""

from __future__ import annotations

import errno
import gc
import os
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from rainbow import interrupts, terminal
from rainbow.errors import RainbowError

INTERRUPTED = 130

# the modules of commands, in the order of the help
MODULES = ("stack", "data", "runs", "partitions", "schedule", "trace", "reconcile", "stream", "api", "new")

app = typer.Typer(
    name="rainbow",
    help="Rainbow Workbench: a lambda architecture for an e-commerce shop.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        terminal.console().print(f"rainbow {version('rainbow-workbench')}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", callback=_tell_version, is_eager=True)] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line: a RainbowError is one line on stderr and exit 1, Ctrl-C is exit 130."""
    # a command lives for seconds: looking for garbage among the many small things that it makes costs up to a third of that
    gc.set_threshold(100_000, 10, 10)
    interrupts.install()
    add_commands(app)
    _leave(_run())


def add_commands(to: typer.Typer) -> None:
    """Add every module's commands."""
    for name in MODULES:
        import_module(f"rainbow.cli.{name}").add_to(to)
    for command in to.registered_commands:
        # in the list of commands; whole paragraphs are shown there with their line breaks
        command.short_help = _beginning(command.help or "")


def _beginning(text: str) -> str:
    """What comes before the first full stop, semicolon or colon, in one line."""
    words = text.split()
    end = next((number for number, word in enumerate(words) if word.endswith((".", ";", ":"))), len(words) - 1)
    return " ".join(words[: end + 1]).rstrip(".;:") + "."


def _run() -> int:
    try:
        app()
    except SystemExit as end:
        # the command line's library turns Ctrl-C into this
        if end.code == INTERRUPTED:
            _say("interrupted; the same command goes on where this one stopped")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        if reason := _of_a_full_disk(error):
            _say(f"the disk is full ({reason}): free some space, then run the same command again")
        elif isinstance(error, RainbowError):
            _say(str(error))
        else:
            raise
        return 1
    return 0


def _of_a_full_disk(error: BaseException | None) -> str | None:
    """What says that a file could not grow, in an error or in what it came from: the system's word, or SQLite's, which keeps the ledger."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return str(error.filename or error.strerror)
        if type(error).__name__ == "OperationalError" and str(error) in ("database or disk is full", "disk I/O error"):
            return "the ledger"
        error = error.__cause__ or error.__context__
    return None


def _say(line: str) -> None:
    terminal.console(stderr=True).print(f"rainbow: {line}", style="red", markup=False, highlight=False)


def _leave(code: int) -> NoReturn:
    """End the process. After Ploomber ran, Python would spend seconds on taking its objects apart; nothing is left to be done then."""
    sys.stdout.flush()
    sys.stderr.flush()
    interrupts.ended()
    if "ploomber" in sys.modules:
        os._exit(code)
    sys.exit(code)
