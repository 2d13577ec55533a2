"""dbt in process: its command line on the project in ``dbt/``, against the BigQuery of the settings, with the parsed manifest kept."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rainbow import code_version
from rainbow.errors import DataError
from rainbow.settings import PROJECT_ROOT, settings
from rainbow.warehouse.client import CLOUD_ENDPOINT

PROJECT = PROJECT_ROOT / "dbt"


def version() -> str:
    """A hash of the project's files: the code version of everything that dbt makes."""
    return code_version.of_files(PROJECT, ("dbt_project.yml", *(f"{folder}/**/*" for folder in ("models", "macros", "tests"))))


def _url() -> str:
    """BigQuery's endpoint. What asks nothing of it, as compiling does, works while there is none."""
    url = settings().bigquery_url
    return url.get_secret_value() if url else "http://localhost"


def target_folder() -> Path:
    """Where dbt's artifacts for this target are kept, under RAINBOW_HOME."""
    url = urlsplit(_url())
    target = f"{url.hostname}:{url.port}/{settings().bigquery_project}"
    return settings().home / "dbt" / hashlib.sha256(target.encode()).hexdigest()[:12]


def invoke(*arguments: str) -> Any:
    """Invoke dbt's command line in this process. Raises DataError with the first error it reports."""
    with _environment():
        from dbt.cli.main import dbtRunner

        folder = str(target_folder())
        places = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", folder, "--log-path", folder]
        result = dbtRunner().invoke([*arguments, *places, "--quiet", "--no-print"])
    if not result.success:
        raise DataError(f"dbt {arguments[0]} failed: {_first_error(result)}")
    return result


def _first_error(result: Any) -> str:
    if result.exception is not None:
        return " ".join(str(result.exception).split())
    failed = [r for r in getattr(result.result, "results", ()) if r.status in ("error", "fail", "runtime error")]
    return f"{failed[0].node.name}: {' '.join(str(failed[0].message).split())}" if failed else "see the log in RAINBOW_HOME/dbt"


@contextmanager
def _environment() -> Iterator[None]:
    """What ``dbt/profiles.yml`` reads; taken back afterwards, so that no other process inherits the password."""
    url = _url()
    parts = urlsplit(url)
    target_folder().mkdir(parents=True, exist_ok=True)
    values = {
        "RAINBOW_BIGQUERY_PROJECT": settings().bigquery_project,
        "RAINBOW_BIGQUERY_LOCATION": settings().bigquery_location,
        "RAINBOW_DBT_ENDPOINT": f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        "RAINBOW_DBT_METHOD": "oauth" if url == CLOUD_ENDPOINT else "oauth-secrets",
        "DBT_ENV_SECRET_RAINBOW_TOKEN": unquote(parts.password or "none"),
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    handlers = list(logging.root.handlers)
    # dbt leaves semaphores to a process of multiprocessing's, which would warn of them when all is over
    sys.warnoptions.append("ignore:resource_tracker")
    try:
        yield
    finally:
        sys.warnoptions.remove("ignore:resource_tracker")
        # nor may every library's remarks come to the screen from here on
        logging.root.handlers[:] = handlers
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
