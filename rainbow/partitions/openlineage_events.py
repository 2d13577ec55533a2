"""Lineage events: what OpenLineage's readers (Marquez and others) are told of a run and of its steps. Nothing is sent here.

Built with the client's own classes, spec 2-0-2. Datasets have the names of OpenLineage's naming page
(https://openlineage.io/docs/spec/naming), so that they are the same ones that other tools speak of. No row of the shop is in an
event, and no password.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from urllib.parse import urlsplit

from openlineage.client import facet_v2 as facets
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState, set_producer
from openlineage.client.generated.base import DatasetFacet, RunFacet
from openlineage.client.naming.dataset import GCS, BigQuery, DatasetNaming, LocalFileSystem, Postgres

from rainbow.checks import Check
from rainbow.errors import SettingsError
from rainbow.lake.files import schema_of
from rainbow.partitions.assets import Asset, assets
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.records import Made
from rainbow.settings import settings
from rainbow.source.tables import BY_NAME
from rainbow.warehouse import project
from rainbow.warehouse.load import raw_columns

NAMESPACE = "rainbow"
# types, where they are known, and descriptions
Columns = Mapping[str, tuple[str | None, str]]
VERSION = version("rainbow-workbench")
set_producer(f"urn:rainbow-workbench:{VERSION}")


@dataclass(frozen=True)
class Task:
    """A run of the ledger, or with ``step`` a step of it; ``what`` is the ledger's word for the run."""

    run: str
    what: str
    partitions: PartitionRange
    step: str | None = None

    @property
    def id(self) -> str:
        """The run's id for OpenLineage; it follows from the ledger's."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"rainbow/{self.run}/{self.step}" if self.step else f"rainbow/{self.run}"))

    @property
    def job(self) -> str:
        """What runs again and again: ``batch`` or ``rebuild``, and a step of it."""
        whole = "rebuild" if self.what.startswith("rebuild") else "batch"
        return f"{whole}.{self.step}" if self.step else whole

    @property
    def parent(self) -> Task | None:
        """The run that a step belongs to."""
        return Task(self.run, self.what, self.partitions) if self.step else None


@dataclass(frozen=True)
class Done:
    """What a step has made and checked."""

    made: Sequence[Made] = ()
    checks: Sequence[Check] = ()


def event(state: RunState, task: Task, *, done: Done | None = None, error: str | None = None) -> RunEvent:
    """The event of a run or a step that begins (START) or has ended (COMPLETE, FAIL, ABORT). With ``done`` its datasets are described."""
    inputs, outputs = _datasets(task.step, done) if task.step else ([], [])
    return RunEvent(
        eventType=state,
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(task.id, _run_facets(task, error)),
        job=Job(NAMESPACE, task.job, {"jobType": facets.job_type_job.JobTypeJobFacet("BATCH", "RAINBOW", "TASK" if task.step else "DAG")}),
        inputs=inputs,
        outputs=outputs,
    )


def _run_facets(task: Task, error: str | None) -> dict[str, RunFacet]:
    begin, end = task.partitions.begin.isoformat(), task.partitions.end.isoformat()
    found: dict[str, RunFacet] = {
        "nominalTime": facets.nominal_time_run.NominalTimeRunFacet(begin, end),
        "processing_engine": facets.processing_engine_run.ProcessingEngineRunFacet(VERSION, "Rainbow Workbench"),
    }
    if task.parent:
        parent = facets.parent_run
        found["parent"] = parent.ParentRunFacet(
            run=parent.Run(task.parent.id),
            job=parent.Job(NAMESPACE, task.parent.job),
            root=parent.Root(parent.RootRun(task.parent.id), parent.RootJob(NAMESPACE, task.parent.job)),
        )
    if error is not None:
        found["errorMessage"] = facets.error_message_run.ErrorMessageRunFacet(settings().without_secrets(error), "Python")
    return found


def _datasets(step: str, done: Done | None) -> tuple[list[InputDataset], list[OutputDataset]]:
    """What a step reads and what it makes. What it both makes and reads is an output alone."""
    made = [one for one in assets().values() if one.step == step]
    own = {one.name for one in made}
    # a step that makes nothing looks at what the warehouse holds
    read = {up for one in made for up in one.upstream} - own if made else {one.name for one in assets().values() if one.step == "transform"}
    # a check may be of a table that is no asset, such as the fixed dim_dates
    checked = {check.asset for check in done.checks} - own - read if done else set()
    inputs = [_source(one) for one in made if one.step == "extract"]
    inputs += [_input(name, done) for name in (*sorted(read), *sorted(checked))]
    models = project.models() if done else {}
    outputs = [_output(one, done, models) for one in made]
    return [one for one in inputs if one], [one for one in outputs if one]


def _source(asset: Asset) -> InputDataset | None:
    """The source's table that an asset of the lake is extracted from."""
    table = asset.name.removeprefix("lake/")
    try:
        url = urlsplit(settings().url_of("postgres"))
    except SettingsError:
        return None
    name = Postgres(url.hostname or "localhost", str(url.port or 5432), url.path.strip("/"), "public", table)
    columns = {column.name: (column.type, column.description) for column in BY_NAME[table].columns}
    return InputDataset(name.get_namespace(), name.get_name(), facets={"schema": _schema(columns)})


def _input(asset: str, done: Done | None) -> InputDataset | None:
    named = _named(asset)
    if named is None:
        return None
    checks = [check for check in done.checks if check.asset == asset] if done else []
    return InputDataset(*named, inputFacets={"dataQualityAssertions": _assertions(checks)} if checks else {})


def _output(asset: Asset, done: Done | None, models: Mapping[str, project.Model]) -> OutputDataset | None:
    named = _named(asset.name)
    if named is None:
        return None
    if done is None:
        return OutputDataset(*named)
    described: dict[str, DatasetFacet] = {"documentation": facets.documentation_dataset.DocumentationDatasetFacet(asset.description)}
    if columns := _columns(asset, models):
        described["schema"] = _schema(columns)
    if checks := [check for check in done.checks if check.asset == asset.name]:
        described["dataQualityAssertions"] = _assertions(checks)  # type: ignore[assignment]
    made = [one for one in done.made if one.asset == asset.name]
    if made:
        described["version"] = facets.dataset_version_dataset.DatasetVersionDatasetFacet(made[-1].data_version)
    statistics = facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=_sum(one.rows for one in made),
        size=_sum(one.bytes for one in made),
        fileCount=_sum(one.metadata.get("files") for one in made),
    )
    known = any(number is not None for number in (statistics.rowCount, statistics.size, statistics.fileCount))
    return OutputDataset(*named, facets=described, outputFacets={"outputStatistics": statistics} if known else {})


def _assertions(checks: Iterable[Check]) -> facets.data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet:
    module = facets.data_quality_assertions_dataset
    return module.DataQualityAssertionsDatasetFacet(
        [
            module.Assertion(
                assertion=check.name,
                success=check.passed,
                name=check.name,
                severity="warn" if check.severity == "warning" else check.severity,
                description=settings().without_secrets(check.detail) or None,
                actual=None if check.passed else f"{check.failing} rows at fault",
            )
            for check in checks
        ]
    )


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _schema(columns: Columns) -> facets.schema_dataset.SchemaDatasetFacet:
    module = facets.schema_dataset
    return module.SchemaDatasetFacet(
        [
            module.SchemaDatasetFacetFields(name, kind, description or None, position)
            for position, (name, (kind, description)) in enumerate(columns.items(), start=1)
        ]
    )


def _columns(asset: Asset, models: Mapping[str, project.Model]) -> Columns:
    """The columns of an asset as its place has them; none for a report."""
    layer, _, name = asset.name.rpartition("/")
    if layer in ("lake", "raw"):
        texts = {column.name: column.description for column in BY_NAME[name].columns}
        of_lake = {field.name: str(field.type) for field in schema_of(BY_NAME[name])}
        types = of_lake if layer == "lake" else raw_columns(BY_NAME[name])
        return {column: (kind, texts.get(column, "")) for column, kind in types.items()}
    if layer == "report":
        return {}
    # the types are BigQuery's; ClickHouse takes its own from the published files
    return {column: (None if layer == "olap" else kind, text) for column, (kind, text) in models[name].columns.items()}


def _named(asset: str) -> tuple[str, str] | None:
    """Namespace and name of an asset; None while nothing says where it is."""
    try:
        named = _naming(asset)
    except SettingsError:
        return None
    return named if isinstance(named, tuple) else (named.get_namespace(), named.get_name())


def _naming(asset: str) -> DatasetNaming | tuple[str, str]:
    layer, _, name = asset.rpartition("/")
    if layer == "lake":
        return _file(f"{settings().lake}/{name}")
    if layer == "report":
        return _file(f"file://{settings().reports_dir}/{name}")
    if layer == "olap":
        url = urlsplit(settings().url_of("clickhouse"))
        return f"clickhouse://{url.hostname}:{url.port or (8443 if url.scheme == 'https' else 8123)}", f"batch.{name}"
    return BigQuery(settings().bigquery_project, "raw" if layer == "raw" else "warehouse", name)


@lru_cache(maxsize=64)
def _file(url: str) -> DatasetNaming:
    parts = urlsplit(url)
    return GCS(parts.netloc, parts.path.strip("/")) if parts.scheme == "gs" else LocalFileSystem(parts.path)
