"""The command line. Each module here adds its commands; what they do lives elsewhere in ``rainbow`` and is imported when called."""

from __future__ import annotations

import sys

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
    try:
        app()
    except RainbowError as error:
        Console(stderr=True, soft_wrap=True).print(f"rainbow: {error}", style="red", markup=False, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        Console(stderr=True).print("rainbow: interrupted", markup=False)
        sys.exit(130)
