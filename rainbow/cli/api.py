"""``rainbow api``: the orders API's server."""

from __future__ import annotations

from typing import Annotated

import typer

_HELP = """
Serve the orders API, on the PostgreSQL that the settings name.

Its log is a JSON object a line. Ctrl-C ends it when the calls under way are
answered. /docs is its description.

\b
  rainbow api
  rainbow api --port 9000 --workers 2
"""


def add_to(app: typer.Typer) -> None:
    """Add this module's command to the command line."""
    app.command(help=_HELP)(api)


def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: RAINBOW_API_HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port, 0: any free one; default: RAINBOW_API_PORT.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes; default: RAINBOW_API_WORKERS.")] = None,
) -> None:
    """Serve the orders API; see ``_HELP``."""
    from rainbow.serving import serve
    from rainbow.settings import settings

    chosen = settings()
    chosen.url_of("postgres")
    serve(
        "api.app:served",
        host=chosen.api_host if host is None else host,
        port=chosen.api_port if port is None else port,
        workers=chosen.api_workers if workers is None else workers,
    )
