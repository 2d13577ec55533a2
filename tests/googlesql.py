"""Google's own analyzer of GoogleSQL (the package ``zetasql``), set as BigQuery sets it, with a catalog of declared schemas.

It takes or refuses a statement by its grammar, names, types and functions. What BigQuery decides only when it plans a query is
not seen: ``lopsided_joins`` finds one such thing. The analyzer comes as WebAssembly; compiled, it is kept beside the virtual
environment's packages, since compiling takes 40 s of processor time.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import wasmtime

Columns = Mapping[str, str]

# The features of the language that BigQuery documents, as Google's zetasql-toolkit sets them, and no experimental ones: without
# a feature, its grammar and its functions do not exist.
FEATURES = """
    ADDITIONAL_STRING_FUNCTIONS ALLOW_DASHES_IN_TABLE_NAME ALTER_TABLE_RENAME_COLUMN ANALYTIC_FUNCTIONS BIGNUMERIC_TYPE CIVIL_TIME
    COLUMN_DEFAULT_VALUE CONCAT_MIXED_TYPES CREATE_TABLE_AS_SELECT_COLUMN_LIST CREATE_TABLE_CLUSTER_BY CREATE_TABLE_COPY
    CREATE_TABLE_FIELD_ANNOTATIONS CREATE_TABLE_LIKE CREATE_TABLE_NOT_NULL CREATE_TABLE_PARTITION_BY CREATE_VIEW_WITH_COLUMN_LIST
    DATE_ARITHMETICS DATE_TIME_CONSTRUCTORS DECIMAL_ALIAS DML_UPDATE_WITH_JOIN EXTENDED_DATE_TIME_SIGNATURES FORMAT_IN_CAST
    FOR_SYSTEM_TIME_AS_OF GROUPING_BUILTIN GROUPING_SETS GROUP_BY_ALL GROUP_BY_ROLLUP HAVING_IN_AGGREGATE INTERVAL_TYPE IS_DISTINCT
    JSON_ARRAY_FUNCTIONS JSON_TYPE JSON_VALUE_EXTRACTION_FUNCTIONS LIKE_ANY_SOME_ALL LIMIT_IN_AGGREGATE NAMED_ARGUMENTS
    NULLS_FIRST_LAST_IN_ORDER_BY NULL_HANDLING_MODIFIER_IN_AGGREGATE NULL_HANDLING_MODIFIER_IN_ANALYTIC NUMERIC_TYPE
    OMIT_INSERT_COLUMN_LIST ORDER_BY_IN_AGGREGATE PARAMETERIZED_TYPES PIVOT QUALIFY ROUND_WITH_ROUNDING_MODE SAFE_FUNCTION_CALL
    SELECT_STAR_EXCEPT_REPLACE TABLESAMPLE UNPIVOT WEEK_WITH_WEEKDAY WITH_ON_SUBQUERY WITH_RECURSIVE
"""

STATEMENTS = """
    ALTER_TABLE BEGIN COMMIT CREATE_TABLE CREATE_TABLE_AS_SELECT CREATE_VIEW DELETE DROP EXPORT_DATA INSERT MERGE QUERY ROLLBACK TRUNCATE UPDATE
"""

# columns of BigQuery's own views that are asked for here
INFORMATION_SCHEMA: dict[str, Columns] = {
    "COLUMNS": dict.fromkeys(("table_catalog", "table_schema", "table_name", "column_name", "is_nullable", "data_type"), "string"),
    "TABLES": dict.fromkeys(("table_catalog", "table_schema", "table_name", "table_type", "ddl"), "string"),
}


class Analyzer:
    """The analyzer with a catalog: ``tables`` maps ``dataset.table`` to its columns and their GoogleSQL types."""

    def __init__(self, tables: Mapping[str, Columns], project: str = "rainbow") -> None:
        from zetasql import types

        self._options = types.AnalyzerOptions(language_options=_language(), default_timezone="UTC")
        datasets: dict[str, dict[str, Columns]] = defaultdict(dict)
        for name, columns in tables.items():
            dataset, _, table = name.rpartition(".")
            datasets[dataset][table] = columns
        made = [_dataset(name, found) for name, found in datasets.items()]
        root = types.SimpleCatalog(
            name="root",
            catalog=[*made, types.SimpleCatalog(name=project, catalog=made)],
            builtin_function_options=types.ZetaSQLBuiltinFunctionOptions(language_options=_language()),
        )
        self._catalog = _service().register_catalog(simple_catalog=root).registered_id

    def resolve(self, sql: str) -> Any:
        """The resolved statement, a protocol buffer. Raises ValueError with the analyzer's reason when it is refused."""
        from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2

        return local_service_pb2.AnalyzeResponse.FromString(self._answer(sql)).resolved_statement

    def refusal(self, sql: str) -> str:
        """Why a statement is refused; empty when it is not."""
        try:
            # not read: a protocol buffer is at most 100 deep, a long expression deeper
            self._answer(sql)
        except ValueError as error:
            return str(error)
        return ""

    def _answer(self, sql: str) -> bytes:
        from zetasql import types
        from zetasql.core.exceptions import ServerError

        # a parameter of the project's statements is a list of ids, by its name, or else of days
        text = re.sub(r"@(\w+)", lambda found: "[1]" if found[1].endswith("_ids") else "[date '2024-09-01']", sql)
        request = types.AnalyzeRequest(options=self._options, registered_catalog_id=self._catalog, sql_statement=text)
        try:
            answer: bytes = _service().wasm_client._call_grpc_method("ZetaSqlLocalService_Analyze", request.to_proto().SerializeToString())
        except ServerError as error:
            raise ValueError(error.message) from None
        return answer


def output_columns(resolved: Any) -> dict[str, str]:
    """Names and kinds of the columns that a query, or a table or view made of one, has."""
    from zetasql.wasi._pb2.zetasql.public import type_pb2

    listed = next((m.output_column_list for m in _messages(resolved) if m.DESCRIPTOR.fields_by_name.get("output_column_list")), ())
    kinds = {c.name: type_pb2.TypeKind.Name(c.column.type.type_kind) for c in listed}
    return {name: kind.removeprefix("TYPE_").lower() for name, kind in kinds.items()}


def lopsided_joins(resolved: Any) -> int:
    """How many outer joins have no equality of both sides among their conditions, which BigQuery refuses when it plans them."""
    outer = [m for m in _messages(resolved) if m.DESCRIPTOR.name == "ResolvedJoinScanProto" and m.join_type]
    return sum(not any(_equates(condition) for condition in _conditions(join.join_expr)) for join in outer)


def _conditions(expression: Any) -> Iterator[Any]:
    call = next((m for m in _messages(expression) if m.DESCRIPTOR.name == "ResolvedFunctionCallBaseProto"), None)
    if call is not None and call.function.name.endswith("$and"):
        for argument in call.argument_list:
            yield from _conditions(argument)
    elif call is not None:
        yield call


def _equates(call: Any) -> bool:
    sides = [{m.column.column_id for m in _messages(a) if m.DESCRIPTOR.name == "ResolvedColumnRefProto"} for a in call.argument_list]
    return call.function.name.endswith("$equal") and all(sides) and not set.intersection(*sides)


def _messages(message: Any) -> Iterator[Any]:
    """A protocol buffer and all in it, the outer before the inner."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if not hasattr(value, "ListFields") else (value,):
                yield from _messages(part)


def _dataset(name: str, tables: Mapping[str, Columns]) -> Any:
    from zetasql import types

    own = types.SimpleCatalog(name="INFORMATION_SCHEMA", table=[_table(n, c) for n, c in INFORMATION_SCHEMA.items()])
    return types.SimpleCatalog(name=name, table=[_table(n, c) for n, c in tables.items()], catalog=[own])


def _table(name: str, columns: Columns) -> Any:
    from zetasql import types

    def kind(type_: str) -> Any:
        return types.Type(type_kind=types.TypeKind[f"TYPE_{type_.partition('(')[0].strip().upper()}"])

    return types.SimpleTable(
        name=name, column=[types.SimpleColumn(name=n, type=kind(t), is_writable_column=True) for n, t in columns.items()]
    )


@cache
def _language() -> Any:
    from zetasql import types

    return types.LanguageOptions(
        name_resolution_mode=types.NameResolutionMode.NAME_RESOLUTION_DEFAULT,
        product_mode=types.ProductMode.PRODUCT_EXTERNAL,
        enabled_language_features=[types.LanguageFeature[f"FEATURE_{name}"] for name in FEATURES.split()],
        supported_statement_kinds=[types.ResolvedNodeKind[f"RESOLVED_{name}_STMT"] for name in STATEMENTS.split()],
        reserved_keywords=["QUALIFY"],
    )


@cache
def _service() -> Any:
    from zetasql.core import wasm_client
    from zetasql.core.local_service import ZetaSqlLocalService

    wasm_client.Module = _KeptModule
    return ZetaSqlLocalService.get_instance()


class _KeptModule:
    """In the place of ``wasmtime.Module``: compiled once for an environment, by the first process that needs it."""

    @staticmethod
    def from_file(engine: wasmtime.Engine, path: str | Path) -> wasmtime.Module:
        """The compiled module, from disk if it is there."""
        versions = "-".join(importlib.metadata.version(name) for name in ("zetasql", "wasmtime"))
        kept = Path(sys.prefix) / "var" / f"zetasql-{versions}.cwasm"
        kept.parent.mkdir(exist_ok=True)
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                incoming = kept.with_suffix(".incoming")
                incoming.write_bytes(wasmtime.Module.from_file(engine, str(path)).serialize())
                incoming.replace(kept)
        return wasmtime.Module.deserialize_file(engine, str(kept))
