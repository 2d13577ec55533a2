"""PostgreSQL's binary COPY format, made with numpy, for tables without text: an order line costs a third of what it does as text.

Format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS. A row is the number of fields, then each field's
length and bytes, big-endian; -1 is the length of a NULL. A numeric is a count of base-10000 digits, the weight of the first, a sign
and the scale (``numeric_recv`` in PostgreSQL's numeric.c); it takes digits that are 0 in front and behind, so all have one width.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

# From 1970, where Arrow's instants begin, to 2000, where PostgreSQL's do
_EPOCH = 946_684_800_000_000
_DIGITS = 6
_NEGATIVE = 0x4000
_ROWS_A_BLOCK = 50_000

Bytes = npt.NDArray[np.uint8]


def can_encode(types: list[str]) -> bool:
    """Whether columns of these PostgreSQL types can all be encoded here."""
    return all(t in ("bigint", "integer", "timestamptz") or t.startswith("numeric") for t in types)


def encoded(rows: pa.Table, types: list[str]) -> Iterator[bytes | memoryview]:
    """The rows as the bytes of a COPY, in blocks; ``types`` are the columns' PostgreSQL types."""
    yield HEADER
    for batch in rows.to_batches(max_chunksize=_ROWS_A_BLOCK):
        yield _block(batch, types)
    yield TRAILER


def _block(batch: pa.RecordBatch, types: list[str]) -> memoryview:
    fields = [_field(column, type_) for column, type_ in zip(batch.columns, types, strict=True)]
    width = 2 + sum(4 + f.shape[1] for f in fields)
    block = np.empty((batch.num_rows, width), dtype=np.uint8)
    block[:, :2] = np.frombuffer(len(fields).to_bytes(2, "big"), dtype=np.uint8)
    kept: npt.NDArray[np.bool_] | None = None
    at = 2
    for column, field in zip(batch.columns, fields, strict=True):
        size = field.shape[1]
        block[:, at : at + 4] = np.frombuffer(size.to_bytes(4, "big"), dtype=np.uint8)
        block[:, at + 4 : at + 4 + size] = field
        if column.null_count:
            null = column.is_null().to_numpy(zero_copy_only=False)
            block[null, at : at + 4] = 255
            kept = np.ones(block.shape, dtype=bool) if kept is None else kept
            kept[null, at + 4 : at + 4 + size] = False
        at += 4 + size
    return np.ascontiguousarray(block if kept is None else block[kept]).reshape(-1).data


def _field(column: pa.Array, type_: str) -> Bytes:
    if type_.startswith("numeric"):
        return _numeric(column)
    if type_ == "timestamptz":
        return _big_endian(_integers(column.cast(pa.timestamp("us")).cast(pa.int64())) - _EPOCH, ">i8")
    return _big_endian(_integers(column), ">i8" if type_ == "bigint" else ">i4")


def _integers(column: pa.Array) -> npt.NDArray[np.int64]:
    return column.fill_null(0).to_numpy(zero_copy_only=False)


def _big_endian(values: npt.NDArray[np.int64], form: str) -> Bytes:
    return values.astype(form)[:, None].view(np.uint8)


def _numeric(column: pa.Array) -> Bytes:
    """Decimals of scale 0, 2 or 4 whose units fit in 64 bits, as numerics of ``_DIGITS`` digits."""
    scale = column.type.scale
    words = np.frombuffer(column.buffers()[1], dtype=np.int64).reshape(-1, 2)[column.offset : column.offset + len(column), 0]
    parts = np.empty((len(column), 4 + _DIGITS), dtype=">i2")
    parts[:, 0] = _DIGITS
    parts[:, 1] = _DIGITS - 2
    parts[:, 2] = np.where(words < 0, _NEGATIVE, 0)
    parts[:, 3] = scale
    unit = 10**scale
    whole, rest = np.divmod(np.abs(words), unit)
    parts[:, -1] = rest * (10_000 // unit)
    for digit in range(_DIGITS - 2, -1, -1):
        whole, parts[:, 4 + digit] = np.divmod(whole, 10_000)
    return parts.view(np.uint8)
