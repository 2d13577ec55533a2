"""The local BigQuery stand-in: how its server (`rainbow.stack.bigquery_server`) is started and looked at."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rainbow.settings import settings
from rainbow.stack.endpoints import get
from rainbow.stack.place import Place
from rainbow.stack.process import Launch
from rainbow.stack.service import Service, url_with_password


def prepare(place: Place, new_password: bool) -> None:
    """Make the data folder; DuckDB takes up its write-ahead log by itself."""
    place.data.mkdir(mode=0o700, exist_ok=True)


def launch(place: Place, ports: Sequence[int]) -> Launch:
    """The server on a port of the loopback; it reads the password from the file, so that no process list shows it."""
    arguments = ["--port", str(ports[0]), "--data", str(place.data), "--password-file", str(place.password_file)]
    return Launch(
        command=[sys.executable, "-m", "rainbow.stack.bigquery_server", *arguments, "--project", settings().bigquery_project],
        environment={"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
    )


def check(url: str) -> None:
    """List the project's datasets, one at most; raises when BigQuery does not answer."""
    from rainbow.warehouse.client import CLOUD_ENDPOINT, connect

    if url.rstrip("/") == CLOUD_ENDPOINT:
        from google.cloud.bigquery.retry import DEFAULT_RETRY

        next(iter(connect().list_datasets(max_results=1, retry=DEFAULT_RETRY.with_timeout(5), timeout=10)), None)
        return
    get(url, f"/bigquery/v2/projects/{settings().bigquery_project}/datasets?maxResults=1")


SERVICE = Service(
    name="bigquery",
    title="BigQuery stand-in",
    url=url_with_password("http", "rainbow"),
    prepare=prepare,
    launch=launch,
    check=check,
    mark="rainbow.stack.bigquery_server",
)
