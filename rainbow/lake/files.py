"""The lake's files: ``<table>/partition_date=D/<content hash>.parquet``, written once and never changed.

A file's name is the SHA-256 of its bytes, so a file that was altered or cut short is noticed when it is read. What a file
holds stands in its footer: the WAL position of the snapshot it was read at. The lake may be any fsspec folder.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from rainbow.errors import DataError
from rainbow.settings import settings
from rainbow.source.tables import Table
from rainbow.types import arrow_type

LSN = "_lsn"
DELETED = "_deleted"
PARTITION = "partition_date"


def schema_of(table: Table) -> pa.Schema:
    """The schema of a table's files: the partition, the table's columns, whether the row was deleted, and the snapshot's WAL position."""
    return pa.schema(
        [
            pa.field(PARTITION, pa.date32(), nullable=False),
            *(pa.field(c.name, arrow_type(c.type), nullable=c.name != table.key) for c in table.columns),
            pa.field(DELETED, pa.bool_(), nullable=False),
            pa.field(LSN, pa.int64(), nullable=False),
        ]
    )


@dataclass(frozen=True)
class LakeFile:
    """A committed file, as a manifest names it."""

    table: str
    partition_date: date
    path: str
    rows: int
    bytes: int
    sha256: str


class Lake:
    """A folder of Parquet files, named by a URL."""

    def __init__(self, url: str | None = None) -> None:
        self.url = (url or settings().lake).rstrip("/")
        self.fs, self.root = fsspec.core.url_to_fs(self.url)

    def __repr__(self) -> str:
        return f"Lake({self.url!r})"

    def folder(self, table: str, partition_date: date) -> str:
        """Path of a partition's folder, relative to the lake."""
        return f"{table}/{PARTITION}={partition_date}"

    def partition(self, table: str, partition_date: date) -> list[str]:
        """Relative paths of a partition's files, sorted; none when it has no rows."""
        return self.files(self.folder(table, partition_date), ".parquet")

    def version(self, table: str, partition_date: date) -> str:
        """The data version of a partition: a hash of its files' names, which are hashes of their content."""
        names = "\n".join(Path(path).stem for path in self.partition(table, partition_date))
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    def full(self, path: str) -> str:
        """Path of a file as its file system takes it."""
        return f"{self.root}/{path}"

    def address(self, path: str) -> str:
        """Path of a file as DuckDB takes it: a plain path on this machine, a URL elsewhere."""
        return self.full(path) if self.is_folder else f"{self.url}/{path}"

    @property
    def is_folder(self) -> bool:
        """Whether the lake is a folder of this machine's file system."""
        return "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))

    def read(self, path: str) -> bytes:
        """A file's bytes. Raises DataError when they are not what the name promises."""
        try:
            content: bytes = self.fs.cat_file(self.full(path))
        except FileNotFoundError:
            raise DataError(f"lake file {self.url}/{path} is gone although a manifest names it: restore it from a backup") from None
        if hashlib.sha256(content).hexdigest() != Path(path).stem:
            raise DataError(
                f"lake file {self.url}/{path} is corrupt, its content does not match its name: restore it from a backup, or delete it and run its partition again"
            )
        return content

    def read_table(self, path: str) -> pa.Table:
        """A file's rows, its content checked against its name."""
        return pq.read_table(io.BytesIO(self.read(path)))

    def write_text(self, path: str, text: str) -> None:
        """Write a small file whole or not at all."""
        with spool_file(".txt") as spooled:
            spooled.write_text(text)
            self._put(spooled, path)

    def read_text(self, path: str) -> str | None:
        """A small file's text; None when there is none."""
        try:
            return bytes(self.fs.cat_file(self.full(path))).decode()
        except FileNotFoundError:
            return None

    def put(self, spooled: Path, path: str) -> None:
        """Put a finished file into the lake under its content's name; a file that is there already stays as it is."""
        if not self.fs.exists(self.full(path)):
            self._put(spooled, path)

    def remove(self, path: str) -> None:
        """Remove what an extract that was cut short put in, or had begun to; nothing to remove is well."""
        for left in (path, f"{Path(path).parent}/.{Path(path).name}.incoming"):
            if self.fs.exists(self.full(left)):
                self.fs.rm_file(self.full(left))

    def files(self, folder: str, suffix: str) -> list[str]:
        """Relative paths of the files right in a folder, sorted by name."""
        try:
            names = self.fs.ls(self.full(folder), detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(f"{folder}/{Path(name).name}" for name in names if name.endswith(suffix))

    def _put(self, spooled: Path, path: str) -> None:
        target = self.full(path)
        if not self.is_folder:
            self.fs.put_file(str(spooled), target)
            return
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        incoming = Path(target).with_name(f".{Path(target).name}.incoming")
        with spooled.open("rb") as source, incoming.open("wb") as sink:
            while chunk := source.read(1 << 20):
                sink.write(chunk)
            sink.flush()
            os.fsync(sink.fileno())
        incoming.replace(target)


class PartitionWriter:
    """Writes one partition's rows to a spooled Parquet file, batch by batch, then commits it; no rows, no file."""

    def __init__(self, lake: Lake, table: Table, partition_date: date, lsn: int) -> None:
        self.lake, self.table, self.partition_date, self.lsn = lake, table, partition_date, lsn
        self.rows = 0
        self._schema = schema_of(table).with_metadata({"rainbow.lsn": str(lsn)})
        self._file: IO[Any] | None = None
        self._writer: pq.ParquetWriter | None = None
        self.path = new_spool_path(".parquet")

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows: the table's columns and ``_deleted``; the partition and the position are added here."""
        if not batch.num_rows:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, self._schema, compression="zstd", compression_level=1, write_statistics=True)
        constant = {
            PARTITION: pa.repeat(pa.scalar(self.partition_date, pa.date32()), batch.num_rows),
            LSN: pa.repeat(pa.scalar(self.lsn, pa.int64()), batch.num_rows),
        }
        arrays = [constant.get(field.name) if field.name in constant else batch.column(field.name) for field in self._schema]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self.rows += batch.num_rows

    def close(self) -> bool:
        """Finish the spooled file; whether it has rows."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        return self.rows > 0

    def finished(self) -> LakeFile:
        """The finished file as the lake will have it."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path = f"{self.lake.folder(self.table.name, self.partition_date)}/{digest}.parquet"
        return LakeFile(self.table.name, self.partition_date, path, self.rows, self.path.stat().st_size, digest)

    def commit(self, file: LakeFile) -> None:
        """Move the finished file into the lake."""
        self.lake.put(self.path, file.path)
        self.discard()

    def discard(self) -> None:
        """Drop the spooled file."""
        self.close()
        self.path.unlink(missing_ok=True)


def new_spool_path(suffix: str) -> Path:
    """A path for a file in the making, in a folder of this process under RAINBOW_HOME."""
    folder = settings().home / "tmp" / str(os.getpid())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{os.urandom(8).hex()}{suffix}"


@contextmanager
def spool_file(suffix: str) -> Iterator[Path]:
    """A path for a file in the making; whatever is there at the end is removed."""
    path = new_spool_path(suffix)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def sweep_spool() -> None:
    """Remove what processes that are gone left behind."""
    import shutil

    import psutil

    keep = {str(pid) for pid in psutil.pids()}
    for folder in (settings().home / "tmp").glob("*"):
        if folder.is_dir() and folder.name not in keep:
            shutil.rmtree(folder, ignore_errors=True)
