"""What is changed in bqemulator so that it behaves like BigQuery in the places that matter here, and is quick.

Each change stands for itself and says why; all of them are to its own, pinned version.
"""

from __future__ import annotations

import functools
from typing import Any


def mend() -> None:
    """Apply all changes; before the server is made."""
    work_without_network()
    accept_any_media_type()
    raise_errors_of_queries()
    keep_no_past_states()
    remember_statements()
    forget_positions()
    export_to_folders()
    load_columns_by_name()
    keep_the_precision_of_casts()


def work_without_network() -> None:
    """Leave out DuckDB extensions that would have to be downloaded: geography and Avro."""
    from bqemulator.storage.engine import DuckDBEngine

    for name in ("_load_spatial", "_load_format_extensions"):
        setattr(DuckDBEngine, name, lambda engine: None)


def accept_any_media_type() -> None:
    """Accept ``*/*``, which Google's own client sends with an upload."""
    from bqemulator.api.routes import upload

    permitted = upload._is_permitted_media_type
    vars(upload)["_is_permitted_media_type"] = lambda media_type: media_type.startswith("*/*") or permitted(media_type)


def raise_errors_of_queries() -> None:
    """Answer a failed ``jobs.query`` with an HTTP error, as BigQuery does; as it stands the client would see no rows and no error."""
    from bqemulator.api.routes import jobs
    from bqemulator.domain.errors import InvalidQueryError, NotFoundError

    def raising(endpoint: Any) -> Any:
        @functools.wraps(endpoint)
        async def query(*args: Any, **kwargs: Any) -> Any:
            answer = await endpoint(*args, **kwargs)
            for error in answer.get("errors", ()):
                raise (NotFoundError if error.get("reason") == "notFound" else InvalidQueryError)(error.get("message", "query failed"))
            return answer

        return query

    for route in jobs.router.routes:
        if getattr(route, "endpoint", None) is jobs.query:
            raised: Any = route
            raised.endpoint = raised.dependant.call = raising(jobs.query)


def keep_no_past_states() -> None:
    """Keep no copy of a table at each change: time travel is not used, and the copies cost as much as the table is large."""
    from bqemulator.domain.events import TableDataChanged
    from bqemulator.jobs import executor
    from bqemulator.versioning import snapshots

    for kind in vars(snapshots).values():
        if isinstance(kind, type) and hasattr(kind, "record_change"):
            kind.record_change = lambda self, project, dataset, table: self._events.publish(TableDataChanged(project, dataset, table))

    async def capture_nothing(project_id: str, bq_sql: str, ctx: Any) -> None:
        return None

    vars(executor)["_capture_dml_snapshots"] = capture_nothing


def export_to_folders() -> None:
    """Let EXPORT DATA write to ``file://``, as a load job here reads from it: a lake on one machine is a folder, not a bucket."""
    from dataclasses import replace

    from bqemulator.jobs import executor
    from sqlglot import exp

    extract_options = executor._extract_export_options

    def extract_options_of_folders(properties: Any) -> Any:
        folder = next((text for text in properties.find_all(exp.Literal) if text.name.startswith("file://")), None)
        if folder is None:
            return extract_options(properties)
        uri = folder.name
        folder.set("this", uri.replace("file://", "gs://", 1))
        return replace(extract_options(properties), uri=uri)

    vars(executor)["_extract_export_options"] = extract_options_of_folders


def load_columns_by_name() -> None:
    """Let a Parquet file's columns go to the table's columns of the same name, in whatever order; one that the file lacks is NULL."""
    from bqemulator.jobs import executor

    def load(path: str, target: str, ctx: Any) -> None:
        ctx.engine.execute(f"insert into {target} by name select * from read_parquet(?)", [path])

    vars(executor)["_LOAD_FORMAT_HANDLERS"]["PARQUET"] = load


def keep_the_precision_of_casts() -> None:
    """Keep the precision of a NUMERIC in CAST where a statement is written anew, as for its views; without it DuckDB takes three places."""
    from sqlglot import exp
    from sqlglot.dialects.bigquery import BigQuery

    BigQuery.Generator.TRANSFORMS.pop(exp.Cast)


def forget_positions() -> None:
    """Keep no line and column in a parsed statement: only errors of the parser itself tell them, and trees are copied over and over with it."""
    from sqlglot.dialects import Dialect
    from sqlglot.expressions.core import POSITION_META_KEYS

    positions = frozenset(POSITION_META_KEYS)
    parse = Dialect.parse

    def parse_without(self: Any, sql: str, **options: Any) -> Any:
        statements = parse(self, sql, **options)
        for statement in statements:
            for node in statement.walk() if statement else ():
                if node._meta and node._meta.keys() <= positions:
                    node._meta = None
        return statements

    Dialect.parse = parse_without


def remember_statements() -> None:
    """Work out the same text once: a statement is parsed about ten times on its way, and the daily ones come again each day.

    What is remembered depends on the text alone; a translation also on the columns of the tables that it names, the views that are
    put in place of their names on the views, so that is forgotten when a view is made.
    """
    import sqlglot
    from bqemulator.catalog import ddl_sync
    from bqemulator.jobs import executor
    from bqemulator.scripting import interpreter
    from bqemulator.sql import inner_query
    from bqemulator.sql.translator import SQLTranslator

    parse_one = sqlglot.parse_one
    remember = functools.lru_cache(maxsize=4096)
    shared = False

    @remember
    def parsed(text: str, read: Any, into: Any, options: tuple[tuple[str, Any], ...]) -> Any:
        return parse_one(text, read=read, into=into, **dict(options))

    def remembering(sql: Any, read: Any = None, dialect: Any = None, into: Any = None, **options: Any) -> Any:
        try:
            tree = parsed(sql, read or dialect, into, tuple(sorted(options.items())))
        except TypeError:
            return parse_one(sql, read=read or dialect, into=into, **options)
        return tree if shared else tree.copy()

    def only_reading(look: Any) -> Any:
        """A function that changes no tree may be given the remembered one itself; copies are what costs."""

        @functools.wraps(look)
        def looking(*args: Any, **kwargs: Any) -> Any:
            nonlocal shared
            shared = True
            try:
                return look(*args, **kwargs)
            finally:
                shared = False

        return looking

    vars(sqlglot)["parse_one"] = remembering
    for module, name in (
        (executor, "rewrite_table_refs"),
        (interpreter, "rewrite_table_refs"),
        (executor, "classify_statement_type"),
        (executor, "parse_script"),
        (ddl_sync, "_detect_plain_create_table"),
        (ddl_sync, "_detect_plain_create_view"),
        (ddl_sync, "_detect_create_schema"),
        (ddl_sync, "_detect_catalog_drop"),
    ):
        vars(module)[name] = remember(vars(module)[name])
    for module, name in (
        (executor, "_reject_dml_on_immutable"),
        (inner_query, "build_catalog_schema"),
        (executor, "_maybe_run_row_access_ddl"),
    ):
        vars(module)[name] = only_reading(vars(module)[name])

    kept: dict[tuple[Any, ...], Any] = {}

    def keep(key: tuple[Any, ...], work: Any) -> Any:
        if key not in kept:
            if len(kept) > 4096:
                kept.clear()
            kept[key] = work()
        return kept[key]

    translate, with_views, made_view = SQLTranslator.translate, inner_query.rewrite_for_row_access, executor.sync_created_view

    def translate_once(self: Any, bq_sql: str, *, schema: Any = None, caller: Any = None, **kwargs: Any) -> Any:
        def work() -> Any:
            return translate(self, bq_sql, schema=schema, caller=caller, **kwargs)

        return work() if "SESSION_USER" in bq_sql.upper() else keep(("translated", bq_sql, repr(schema)), work)

    def with_views_once(bq_sql: str, *, project_id: str, caller: Any, catalog: Any) -> str:
        text: str = keep(
            ("views", bq_sql, project_id, repr(caller)), lambda: with_views(bq_sql, project_id=project_id, caller=caller, catalog=catalog)
        )
        return text

    def forget_views(bq_sql: str, project_id: str, ctx: Any) -> None:
        made_view(bq_sql, project_id, ctx)
        if ddl_sync._detect_plain_create_view(bq_sql)[0] is not None:
            kept.clear()

    SQLTranslator.translate = translate_once  # type: ignore[method-assign]
    vars(inner_query)["rewrite_for_row_access"] = with_views_once
    vars(executor)["sync_created_view"] = forget_views
