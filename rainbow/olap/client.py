"""Connections to ClickHouse's HTTP interface."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from rainbow.errors import ServiceError
from rainbow.settings import settings

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from clickhouse_connect.driver.exceptions import ClickHouseError

_VERSION_AND_ADDRESS = re.compile(r" \((version|for url) [^)]*\)")

# what the client says of connections that break, with tracebacks, is no news to a user; its errors are raised as well
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())


def connect(**options: Any) -> Client:
    """A client for the ClickHouse that the settings name; ``options`` are clickhouse-connect's. Safe to share between threads.

    Raises SettingsError when no URL is set, ServiceError when the server does not answer or refuses.
    """
    import clickhouse_connect
    from clickhouse_connect.driver.exceptions import ClickHouseError

    url = urlsplit(settings().url_of("clickhouse"))
    try:
        return clickhouse_connect.get_client(
            host=url.hostname,
            port=url.port or (8443 if url.scheme == "https" else 8123),
            secure=url.scheme == "https",
            username=unquote(url.username or "default"),
            password=unquote(url.password or ""),
            **{"autogenerate_session_id": False, **options},
        )
    except ClickHouseError as error:
        raise ServiceError(
            f"ClickHouse does not let us in: {words_of(error)}; see `rainbow status`, or set RAINBOW_CLICKHOUSE_URL"
        ) from error


def words_of(error: Exception) -> str:
    """An error in one line: ClickHouse's own words with the error's name, without its version and address; another error's first line."""
    line = next(iter(str(error).strip().splitlines()), repr(error))
    before, _, said = line.partition("DB::Exception: ")
    return _VERSION_AND_ADDRESS.sub("", said or before)


def is_missing(error: ClickHouseError) -> bool:
    """Whether what was asked for is not there: a table, or its database."""
    return any(name in str(error) for name in ("UNKNOWN_TABLE", "UNKNOWN_DATABASE"))
