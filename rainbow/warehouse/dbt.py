"""dbt in process: the project in ``dbt/`` against the BigQuery of the settings, with the parsed manifest kept.

dbt starts slowly and asks much of the server for each model, so it is invoked when the project or the target has changed; it
writes down every statement that it sends. Later transforms send these statements themselves, in dbt's order: the models of
this project are made so that their statements do not depend on the day (``dbt/macros/restated.sql``).
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from rainbow.errors import DataError
from rainbow.settings import PROJECT_ROOT, settings
from rainbow.warehouse.client import CLOUD_ENDPOINT

PROJECT = PROJECT_ROOT / "dbt"


@dataclass(frozen=True)
class Statement:
    """What dbt sends for a model or a test: ``fixed`` models are made once, the others at each transform.

    ``folder`` is the model's in ``dbt/models``, empty for a test. ``columns`` maps a model's columns to their GoogleSQL types,
    ``required`` are those that are never NULL, ``key`` is its key.
    """

    name: str
    kind: str
    folder: str
    sql: str
    fixed: bool
    upstream: tuple[str, ...]
    asset: str
    severity: str
    columns: dict[str, str]
    required: tuple[str, ...]
    key: tuple[str, ...]


def version() -> str:
    """A hash of the project's files: the code version of everything that dbt makes."""
    digest = hashlib.sha256()
    for path in sorted(p for folder in ("models", "macros", "tests") for p in (PROJECT / folder).rglob("*") if p.is_file()):
        digest.update(path.relative_to(PROJECT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update((PROJECT / "dbt_project.yml").read_bytes())
    return digest.hexdigest()[:16]


def models() -> set[str]:
    """The names of the project's models."""
    return {path.stem for path in (PROJECT / "models").rglob("*.sql")}


def is_lasting(statement: Statement) -> bool:
    """Whether a statement is a model that keeps what it made on other days: a dimension, the fact or a batch view."""
    return statement.kind == "model" and statement.folder != "staging" and not statement.fixed


def versions(listed: Sequence[Statement]) -> dict[str, str]:
    """The code version of each lasting model: a hash of its statement and of those of the staging models that it is made from."""
    by_name = {s.name: s for s in listed if s.kind == "model"}

    def code(statement: Statement) -> set[str]:
        upstream = (by_name[name] for name in statement.upstream)
        return {statement.sql}.union(*(code(one) for one in upstream if one.folder == "staging"))

    found = {s.name: "\0".join(sorted(code(s))) for s in by_name.values() if is_lasting(s)}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in found.items()}


def target_folder() -> Path:
    """Where dbt's artifacts for this target are kept, under RAINBOW_HOME."""
    url = urlsplit(settings().url_of("bigquery"))
    target = f"{url.hostname}:{url.port}/{settings().bigquery_project}"
    return settings().home / "dbt" / hashlib.sha256(target.encode()).hexdigest()[:12]


def statements() -> tuple[Statement, ...] | None:
    """The statements of the project as it is now, in the order in which dbt runs them; None when dbt has to run first."""
    path = target_folder() / "statements.json"
    if not path.exists():
        return None
    kept = orjson.loads(path.read_bytes())
    if kept["version"] != version():
        return None
    return tuple(_statement(raw) for raw in kept["statements"])


def _statement(raw: dict[str, Any]) -> Statement:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    return Statement(**values)


def run() -> tuple[Statement, ...]:
    """Let dbt make all models and compile all tests, and keep the statements. Raises DataError with dbt's first error."""
    invoke("run")
    invoke("compile", "--select", "test_type:generic", "test_type:singular")
    made = tuple(_collect())
    body = orjson.dumps({"version": version(), "statements": [asdict(s) for s in made]})
    path = target_folder() / "statements.json"
    incoming = path.with_suffix(".incoming")
    incoming.write_bytes(body)
    incoming.replace(path)
    return made


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
    url = settings().url_of("bigquery")
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
    # dbt leaves semaphores to a process of multiprocessing's, which would warn of them when all is over
    sys.warnoptions.append("ignore:resource_tracker")
    try:
        yield
    finally:
        sys.warnoptions.remove("ignore:resource_tracker")
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _collect() -> Iterator[Statement]:
    folder = target_folder()
    nodes: dict[str, Any] = orjson.loads((folder / "manifest.json").read_bytes())["nodes"]
    names = [n for n in TopologicalSorter({k: v["depends_on"]["nodes"] for k, v in nodes.items()}).static_order() if n in nodes]
    required: dict[str, list[str]] = {}
    for test in nodes.values():
        if test["resource_type"] == "test" and (test.get("test_metadata") or {}).get("name") == "not_null":
            required.setdefault(test["attached_node"], []).append(test["column_name"])
    for name in names:
        node = nodes[name]
        kind = node["resource_type"]
        path = folder / ("run" if kind == "model" else "compiled") / "rainbow" / node["original_file_path"]
        if kind == "test":
            path = path / node["path"] if not path.is_file() else path
        tested = node.get("attached_node")
        key = node["config"].get("unique_key") or ()
        yield Statement(
            name=node["name"],
            kind=kind,
            folder=Path(node["path"]).parts[0] if kind == "model" else "",
            sql=path.read_text().strip(),
            fixed="fixed" in node["tags"],
            upstream=tuple(nodes[n]["name"] for n in node["depends_on"]["nodes"] if n in nodes),
            asset=nodes[tested]["name"] if tested in nodes else node["name"],
            severity="warning" if node["config"].get("severity", "error").lower() == "warn" else "error",
            columns={c["name"]: c["data_type"] for c in node.get("columns", {}).values()},
            required=tuple(required.get(name, ())),
            key=(key,) if isinstance(key, str) else tuple(key),
        )
