"""The command line. Each module here adds its commands; what they do lives elsewhere in ``rainbow`` and is imported when called."""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

import typer
from rich.console import Console

from rainbow.errors import RainbowError

app = typer.Typer(
    name="rainbow",
    help="Rainbow Workbench: a lambda architecture for an e-commerce shop.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line: a RainbowError is one line on stderr and exit 1, Ctrl-C is exit 130."""
    from rainbow.cli import data, runs, stack

    for module in (stack, data, runs):
        module.add_to(app)
    _leave(_run())


def _run() -> int:
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except RainbowError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on where this one stopped")
        return 130
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _say(f"the disk is full ({error.filename or error.strerror}): free some space, then run the same command again")
        return 1
    return 0


def _say(line: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"rainbow: {line}", style="red", markup=False, highlight=False)


def _leave(code: int) -> NoReturn:
    """End the process. After Ploomber ran, Python would spend seconds on taking its objects apart; nothing is left to be done then."""
    sys.stdout.flush()
    sys.stderr.flush()
    if "ploomber" in sys.modules:
        os._exit(code)
    sys.exit(code)
