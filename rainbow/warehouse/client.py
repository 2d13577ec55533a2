"""Connections to BigQuery, in the cloud or at any endpoint that speaks its REST interface."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rainbow.settings import settings

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud import bigquery

CLOUD_ENDPOINT = "https://bigquery.googleapis.com"


def connect() -> bigquery.Client:
    """A client for the project and endpoint that the settings name.

    At Google's endpoint it signs in with the application default credentials; elsewhere with the user and password of the URL,
    which it sends as a header and keeps out of the address, so that no error message shows them. Raises SettingsError when no
    URL is set.
    """
    from google.cloud import bigquery

    url = settings().url_of("bigquery").rstrip("/")
    location = settings().bigquery_location
    project = settings().bigquery_project
    if url == CLOUD_ENDPOINT:
        return bigquery.Client(project=project, location=location)
    endpoint, credentials = _split(url)
    return bigquery.Client(project=project, location=location, credentials=credentials, client_options={"api_endpoint": endpoint})


def _split(url: str) -> tuple[str, Credentials]:
    """An endpoint without user and password, and credentials that send them (HTTP Basic, RFC 7617)."""
    from google.auth.credentials import AnonymousCredentials

    class BasicCredentials(AnonymousCredentials):
        def apply(self, headers: dict[str, str], token: str | None = None) -> None:
            headers["authorization"] = f"Basic {encoded}"

        def before_request(self, request: object, method: str, url: str, headers: dict[str, str]) -> None:
            self.apply(headers)

    parts = urlsplit(url)
    if parts.username is None:
        return url, AnonymousCredentials()
    encoded = b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}", BasicCredentials()
