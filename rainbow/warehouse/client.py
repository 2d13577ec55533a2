"""Connections to BigQuery, in the cloud or at any endpoint that speaks its REST interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbow.settings import settings

if TYPE_CHECKING:
    from google.cloud import bigquery

CLOUD_ENDPOINT = "https://bigquery.googleapis.com"


def connect() -> bigquery.Client:
    """A client for the project and endpoint that the settings name.

    At Google's endpoint it signs in with the application default credentials; elsewhere with the user and password in the
    URL (HTTP Basic), if it has them. Raises SettingsError when no URL is set.
    """
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    url = settings().url_of("bigquery").rstrip("/")
    location = settings().bigquery_location
    project = settings().bigquery_project
    if url == CLOUD_ENDPOINT:
        return bigquery.Client(project=project, location=location)
    return bigquery.Client(
        project=project,
        location=location,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": url},
    )
