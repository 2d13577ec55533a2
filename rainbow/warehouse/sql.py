"""Sending GoogleSQL: one place that turns BigQuery's errors into one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rainbow.errors import DataError, ServiceError

if TYPE_CHECKING:
    from google.cloud import bigquery
    from google.cloud.bigquery.table import Row


def rows(
    client: bigquery.Client, sql: str, parameters: Sequence[bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter] = ()
) -> list[Row]:
    """Run a statement or a script and return the rows of its last statement.

    Raises ServiceError when BigQuery does not answer, DataError when it refuses the statement.
    """
    from google.cloud import bigquery

    with one_line("query"):
        return list(client.query_and_wait(sql, job_config=bigquery.QueryJobConfig(query_parameters=list(parameters))))


def change(client: bigquery.Client, sql: str) -> int | None:
    """Run a statement that changes a table; returns how many rows it changed, None where BigQuery does not say. Raises as ``rows``."""
    with one_line("statement"):
        changed: int | None = client.query_and_wait(sql).num_dml_affected_rows
        return changed


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """A block whose errors of Google's client become one line of ours; ``what`` says what was being done."""
    import requests
    from google.api_core import exceptions

    try:
        yield
    except (requests.ConnectionError, requests.Timeout, exceptions.RetryError, exceptions.ServiceUnavailable) as error:
        raise ServiceError(
            f"BigQuery does not answer ({what}): see `rainbow status`, start it with `rainbow up`, or set RAINBOW_BIGQUERY_URL"
        ) from error
    except (exceptions.Unauthorized, exceptions.Forbidden) as error:
        raise ServiceError(f"BigQuery does not let us in ({what}): see `rainbow doctor`") from error
    except exceptions.GoogleAPICallError as error:
        # the message of the whole begins with the request and its address
        said = next((one["message"] for one in error.errors if isinstance(one, dict) and one.get("message")), error.message or str(error))
        raise DataError(f"BigQuery refused the {what}: {said.strip().splitlines()[0]}") from error
