"""What dbt's project is made of: its models with their lineage and code versions, and the statements that it sends.

dbt starts slowly and asks much of the server for each model, so it is invoked when the project or the target has changed; what
it compiled and sent is kept. Later transforms send these statements themselves, in dbt's order: the models of this project are
made so that their statements do not depend on the day (``dbt/macros/restated.sql``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import orjson

from rainbow.settings import settings
from rainbow.warehouse import dbt

# what a restated model's statement is made of besides the model's own SQL
_MATERIALIZATION = re.compile(r"macro\.rainbow\.(materialization_restated_\w+|restate|rebuilt|existing_\w+)")
# models that say what a transform is about; no data of another model comes from them
_CONTROL = "control"


@dataclass(frozen=True)
class Model:
    """A model of dbt's project. ``folder`` is its folder in ``dbt/models``; ``upstream`` names models and sources (``raw.orders``).

    ``code`` is a hash of what dbt compiled of it; ``columns`` maps columns to their GoogleSQL types and descriptions.
    """

    name: str
    folder: str
    description: str
    upstream: tuple[str, ...]
    code: str
    is_control: bool
    is_fixed: bool
    columns: dict[str, tuple[str, str]]

    @property
    def is_lasting(self) -> bool:
        """Whether its table keeps what it held on other days: a dimension, the fact or a batch view."""
        return self.folder != "staging" and not self.is_fixed


@dataclass(frozen=True)
class Statement:
    """What dbt sends for a model or a test: ``fixed`` models are made once, the others at each transform.

    ``columns`` maps a model's columns to their GoogleSQL types, ``required`` are those that are never NULL, ``key`` is its key.
    """

    name: str
    kind: str
    sql: str
    fixed: bool
    upstream: tuple[str, ...]
    asset: str
    severity: str
    columns: dict[str, str]
    required: tuple[str, ...]
    key: tuple[str, ...]


def names() -> set[str]:
    """The names of the project's models, from its files."""
    return {path.stem for path in (dbt.PROJECT / "models").rglob("*.sql")}


def models() -> dict[str, Model]:
    """The models of the project as it is now, in the order in which dbt runs them; it is compiled when it has changed.

    Raises DataError with dbt's first error when it cannot be compiled.
    """
    return _models(dbt.version(), _models_file())


@lru_cache(maxsize=2)
def _models(version: str, file: Path) -> dict[str, Model]:
    kept = _kept(file, version)
    if kept is None:
        dbt.invoke("compile", "--no-populate-cache")
        kept = [asdict(model) for model in _collect_models()]
        _keep(file, version, kept)
    return {
        raw["name"]: Model(**{**raw, "upstream": tuple(raw["upstream"]), "columns": {c: tuple(v) for c, v in raw["columns"].items()}})
        for raw in kept
    }


def versions() -> dict[str, str]:
    """The code version of each lasting model: a hash of its code and of that of the staging models that it is made from."""
    return _versions(dbt.version(), _models_file())


@lru_cache(maxsize=2)
def _versions(version: str, file: Path) -> dict[str, str]:
    by_name = _models(version, file)

    def code(model: Model) -> set[str]:
        upstream = (by_name[name] for name in model.upstream if name in by_name)
        return {model.code}.union(*(code(one) for one in upstream if one.folder == "staging"))

    lasting = (model for model in by_name.values() if model.is_lasting)
    return {m.name: hashlib.sha256("".join(sorted(code(m))).encode()).hexdigest()[:16] for m in lasting}


def lineage() -> dict[str, tuple[str, ...]]:
    """The lasting models, and of each the lasting models and the sources (``raw.orders``) that its data come from, staging left out."""
    return _lineage(dbt.version(), _models_file())


@lru_cache(maxsize=2)
def _lineage(version: str, file: Path) -> dict[str, tuple[str, ...]]:
    by_name = _models(version, file)

    def origins(name: str) -> Iterator[str]:
        for one in by_name[name].upstream:
            model = by_name.get(one)
            if model is None or model.is_lasting:
                yield one
            elif model.folder == "staging" and not model.is_control:
                yield from origins(one)

    return {name: tuple(dict.fromkeys(origins(name))) for name, model in by_name.items() if model.is_lasting}


def statements() -> tuple[Statement, ...] | None:
    """The statements of the project as it is now, in the order in which dbt runs them; None when dbt has to run first."""
    kept = _kept(_statements_file(), dbt.version())
    return None if kept is None else tuple(_statement(raw) for raw in kept)


def has_run() -> bool:
    """Whether dbt has ever made the warehouse that the settings name, by whatever code."""
    return _statements_file().exists()


def _statement(raw: dict[str, Any]) -> Statement:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    return Statement(**values)


def run() -> tuple[Statement, ...]:
    """Let dbt make all models and compile all tests, and keep the statements. Raises DataError with dbt's first error."""
    version = dbt.version()
    dbt.invoke("run")
    _keep(_models_file(), version, [asdict(model) for model in _collect_models()])
    dbt.invoke("compile", "--select", "test_type:generic", "test_type:singular")
    made = tuple(_collect_statements())
    _keep(_statements_file(), version, [asdict(s) for s in made])
    return made


def _models_file() -> Path:
    return settings().home / "dbt" / f"models-{settings().bigquery_project}.json"


def _statements_file() -> Path:
    return dbt.target_folder() / "statements.json"


def _kept(path: Path, version: str) -> Any:
    kept = orjson.loads(path.read_bytes()) if path.exists() else {}
    return kept.get("content") if kept.get("version") == version else None


def _keep(path: Path, version: str, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    incoming = path.with_suffix(".incoming")
    incoming.write_bytes(orjson.dumps({"version": version, "content": content}))
    incoming.replace(path)


def _manifest() -> Any:
    return orjson.loads((dbt.target_folder() / "manifest.json").read_bytes())


def _in_order(nodes: Mapping[str, Any]) -> list[str]:
    graph = {name: node["depends_on"]["nodes"] for name, node in nodes.items()}
    return [name for name in TopologicalSorter(graph).static_order() if name in nodes]


def _collect_models() -> Iterator[Model]:
    manifest = _manifest()
    nodes = {name: node for name, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    shared = "".join(m["macro_sql"] for name, m in sorted(manifest["macros"].items()) if _MATERIALIZATION.fullmatch(name))
    titles = {name: node["name"] for name, node in nodes.items()}
    titles |= {name: f"{s['schema']}.{s['name']}" for name, s in manifest["sources"].items() if s["source_name"] == "raw"}
    for name in _in_order(nodes):
        node = nodes[name]
        compiled = (dbt.target_folder() / "compiled" / "rainbow" / node["original_file_path"]).read_text()
        config = {key: node["config"].get(key) for key in ("materialized", "unique_key", "existing", "partition_by", "cluster_by")}
        columns = {c["name"]: (c["data_type"], c["description"]) for c in node["columns"].values()}
        types = {column: type_ for column, (type_, _) in columns.items()}
        made_of = [compiled.strip(), config, types, shared if config["materialized"] == "restated" else ""]
        yield Model(
            name=node["name"],
            folder=Path(node["path"]).parts[0],
            description=node["description"],
            upstream=tuple(titles[n] for n in node["depends_on"]["nodes"] if n in titles),
            code=hashlib.sha256(orjson.dumps(made_of, option=orjson.OPT_SORT_KEYS)).hexdigest(),
            is_control=_CONTROL in node["tags"],
            is_fixed="fixed" in node["tags"],
            columns=columns,
        )


def _collect_statements() -> Iterator[Statement]:
    nodes = _manifest()["nodes"]
    required: dict[str, list[str]] = {}
    for test in nodes.values():
        if test["resource_type"] == "test" and (test.get("test_metadata") or {}).get("name") == "not_null":
            required.setdefault(test["attached_node"], []).append(test["column_name"])
    for name in _in_order(nodes):
        node = nodes[name]
        kind = node["resource_type"]
        path = dbt.target_folder() / ("run" if kind == "model" else "compiled") / "rainbow" / node["original_file_path"]
        if kind == "test":
            path = path / node["path"] if not path.is_file() else path
        tested = node.get("attached_node")
        key = node["config"].get("unique_key") or ()
        yield Statement(
            name=node["name"],
            kind=kind,
            sql=path.read_text().strip(),
            fixed="fixed" in node["tags"],
            upstream=tuple(nodes[n]["name"] for n in node["depends_on"]["nodes"] if n in nodes),
            asset=nodes[tested or _first_model(node, nodes)]["name"] if kind == "test" else node["name"],
            severity="warning" if node["config"].get("severity", "error").lower() == "warn" else "error",
            columns={c["name"]: c["data_type"] for c in node.get("columns", {}).values()},
            required=tuple(required.get(name, ())),
            key=(key,) if isinstance(key, str) else tuple(key),
        )


def _first_model(test: Mapping[str, Any], nodes: Mapping[str, Any]) -> str:
    """The model that a test with SQL of its own is about: the first that it names."""
    return next(name for name in test["depends_on"]["nodes"] if name in nodes)
