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


def announce(lake: Lake, manifest: Manifest) -> None:
    """Say which files are about to come, before the first of them is in the lake."""
    lake.write_text(f"{FOLDER}/{manifest.name}.pending", _as_text(manifest))


def commit(lake: Lake, manifest: Manifest) -> None:
    """Write a manifest: from here on the extract has happened."""
    lake.write_text(f"{FOLDER}/{manifest.name}.json", _as_text(manifest))
    lake.remove(f"{FOLDER}/{manifest.name}.pending")


def withdraw(lake: Lake) -> None:
    """Remove the files of extracts that were announced and never committed, so that a file of the lake is one that a manifest names."""
    committed = set(names(lake))
    for path in lake.files(FOLDER, ".pending"):
        name = path.removeprefix(f"{FOLDER}/").removesuffix(".pending")
        if name not in committed:
            for file in _parse(lake, path).files:
                lake.remove(file.path)
        lake.remove(path)


def names(lake: Lake) -> list[str]:
    """Names of all manifests, oldest extract first."""
    return [path.removeprefix(f"{FOLDER}/").removesuffix(".json") for path in lake.files(FOLDER, ".json")]


def read(lake: Lake, name: str) -> Manifest:
    """Read a manifest. Raises DataError when it is gone or cannot be read."""
    return _parse(lake, f"{FOLDER}/{name}.json")


def _as_text(manifest: Manifest) -> str:
    return orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2).decode()


def _parse(lake: Lake, path: str) -> Manifest:
    try:
        raw = orjson.loads(lake.read_text(path) or "")
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
        raise DataError(f"manifest {lake.url}/{path} cannot be read ({type(error).__name__}): restore it from a backup") from error
    return replace(manifest, files=files)


def newest(lake: Lake) -> Manifest | None:
    """The last extract's manifest; None before the first."""
    all_names = names(lake)
    return read(lake, all_names[-1]) if all_names else None


def latest_partition(lake: Lake) -> date | None:
    """The latest day that was ever extracted, whatever was extracted last; None before the first extract."""
    return max((date.fromisoformat(name[17:27]) for name in names(lake)), default=None)
