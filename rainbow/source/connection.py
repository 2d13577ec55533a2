"""Connections to the shop's database."""

from __future__ import annotations

from typing import Any

import psycopg

from rainbow.errors import ServiceError
from rainbow.settings import settings


def connect(**options: Any) -> psycopg.Connection[Any]:
    """Connect to the PostgreSQL that the settings name; ``options`` are psycopg's. Times are UTC.

    Raises SettingsError when no URL is set, ServiceError when the server does not answer or refuses.
    """
    url = settings().url_of("postgres")
    try:
        connection = psycopg.connect(url, **{"application_name": "rainbow", "connect_timeout": 10, **options})
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ServiceError(f"PostgreSQL does not let us in: {reason}; see `rainbow status`, or set RAINBOW_POSTGRES_URL") from error
    connection.execute("set timezone = 'UTC'")
    if not connection.autocommit:
        connection.commit()
    return connection
