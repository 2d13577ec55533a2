"""Manifests: what one extract put into the lake. A manifest is the commit of an extract; load works manifest by manifest.

``_manifests/<WAL position, 16 hex digits>-<last partition>-<run>.json``; names sort in the order in which extracts happened.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime

import orjson

from rainbow.errors import DataError
from rainbow.lake.files import Lake, LakeFile
from rainbow.partitions.dates import PartitionRange
from rainbow.source.reader import Snapshot

FOLDER = "_manifests"


@dataclass(frozen=True)
class Manifest:
    """An extract: its partitions, the snapshot it saw, and the files it added (none when nothing had changed)."""

    run: str
    first: date
    last: date
    taken_at: datetime
    snapshot: str
    snapshot_xmin: int
    lsn: int
    baseline: bool
    files: tuple[LakeFile, ...] = field(default=())

    @property
    def partitions(self) -> PartitionRange:
        """The partitions that were extracted; files may also belong to earlier ones (rows that came late)."""
        return PartitionRange(self.first, self.last)

    @property
    def partial(self) -> bool:
        """Whether the last partition's day had not ended yet."""
        return self.taken_at < self.partitions.end

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)

    @property
    def name(self) -> str:
        """The manifest's file name, without its ending."""
        return f"{self.lsn:016x}-{self.last}-{self.run}"

    @property
    def seen(self) -> Snapshot:
        """The snapshot that was seen."""
        return Snapshot(self.snapshot, self.snapshot_xmin, self.lsn)


def commit(lake: Lake, manifest: Manifest) -> None:
    """Write a manifest: from here on the extract has happened."""
    lake.write_text(f"{FOLDER}/{manifest.name}.json", orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2).decode())


def names(lake: Lake) -> list[str]:
    """Names of all manifests, oldest extract first."""
    return [path.removeprefix(f"{FOLDER}/").removesuffix(".json") for path in lake.files(FOLDER, ".json")]


def read(lake: Lake, name: str) -> Manifest:
    """Read a manifest. Raises DataError when it is gone or cannot be read."""
    text = lake.read_text(f"{FOLDER}/{name}.json")
    try:
        raw = orjson.loads(text or "")
        manifest = Manifest(
            **{
                **raw,
                "first": date.fromisoformat(raw["first"]),
                "last": date.fromisoformat(raw["last"]),
                "taken_at": datetime.fromisoformat(raw["taken_at"]),
                "files": (),
            }
        )
        files = tuple(LakeFile(**{**file, "partition_date": date.fromisoformat(file["partition_date"])}) for file in raw["files"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"manifest {lake.url}/{FOLDER}/{name}.json cannot be read ({type(error).__name__}): restore it from a backup"
        ) from error
    return replace(manifest, files=files)


def newest(lake: Lake) -> Manifest | None:
    """The last extract's manifest; None before the first."""
    all_names = names(lake)
    return read(lake, all_names[-1]) if all_names else None
