"""The jars of Apache Kafka: fetched once from the Maven repository, each held against the hash in ``kafka_jars.lock``.

A fetch writes into a draft beside the folder and renames that when it is complete, so the folder has all jars or does not
exist. What an interrupted fetch left in the draft is used by the next one, as far as it is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rainbow.errors import ServiceError
from rainbow.settings import Settings

VERSION = "4.3.1"
LOCK = Path(__file__).with_suffix(".lock")

PARALLEL = 6
ATTEMPTS = 3
SECONDS_BETWEEN_REPORTS = 2.0


@dataclass(frozen=True)
class Jar:
    """A jar as the lock names it: ``group:artifact:version`` and its SHA-256."""

    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The file's name, the same as Maven's."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    def is_whole(self, path: Path) -> bool:
        """Whether the file is there and is this jar, byte for byte."""
        if not path.exists():
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


def locked_jars() -> list[Jar]:
    """The jars of the lock."""
    return [Jar(*line.split()) for line in LOCK.read_text(encoding="utf-8").splitlines()]


def folder(named: Settings) -> Path:
    """The folder of the jars: the one that RAINBOW_KAFKA_JARS names, else one in RAINBOW_HOME."""
    return named.kafka_jars or named.home / "jars" / f"kafka-{VERSION}"


def provide(named: Settings, tell: Callable[[str], None]) -> None:
    """Fetch the jars unless they are there; raises ServiceError when a folder that the settings name has none, or there is no network."""
    if named.kafka_jars is None:
        fetch(folder(named), tell)
    elif not any(named.kafka_jars.glob("kafka_*.jar")):
        raise ServiceError(f"kafka: {named.kafka_jars} has no kafka_*.jar; set RAINBOW_KAFKA_JARS to a folder of Kafka's jars, or unset it")


def fetch(target: Path, tell: Callable[[str], None] = lambda text: None) -> None:
    """Fetch the jars into the folder ``target`` unless it exists; of several at once one fetches and the others wait for it.

    ``tell`` is given lines of progress. Raises ServiceError when a jar cannot be had.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with _held(target.with_name(f".{target.name}.lock"), tell):
        if target.exists():
            return
        draft = target.with_name(f".{target.name}.draft")
        (draft / "jars").mkdir(parents=True, exist_ok=True)
        _fetch_all(locked_jars(), draft, tell)
        (draft / "jars").rename(target)
        shutil.rmtree(draft, ignore_errors=True)


def _fetch_all(jars: list[Jar], draft: Path, tell: Callable[[str], None]) -> None:
    """Fetch each jar into ``draft/jars``, several at a time."""
    done, fetched_bytes, told = 0, 0, time.monotonic()
    tell(f"{len(jars)} jars of Apache Kafka {VERSION}, about 45 MB, once")
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        for future in as_completed([pool.submit(_fetch_one, jar, draft) for jar in jars]):
            done, fetched_bytes = done + 1, fetched_bytes + future.result()
            if done == len(jars) or time.monotonic() - told > SECONDS_BETWEEN_REPORTS:
                tell(f"{done} of {len(jars)} jars, {fetched_bytes / 1e6:.0f} MB")
                told = time.monotonic()
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch_one(jar: Jar, draft: Path) -> int:
    """Fetch a jar unless the draft has it whole; returns its size in bytes."""
    from jgo.maven import MavenContext

    path = draft / "jars" / jar.file_name
    fault = ""
    for attempt in range(ATTEMPTS):
        if jar.is_whole(path):
            return path.stat().st_size
        time.sleep(attempt)
        try:
            artifact = MavenContext(repo_cache=draft / "repository", timeout=30).create_dependency(jar.coordinate).artifact
            # jgo takes a file that is there for a whole one
            if artifact.cached_path:
                artifact.cached_path.unlink(missing_ok=True)
            artifact.resolve().replace(path)
            fault = "what came is not what the lock names"
        except Exception as error:  # requests' errors, and RuntimeError when the repository does not have it
            fault = type(error).__name__
    raise ServiceError(
        f"kafka: {jar.coordinate} cannot be fetched from the Maven repository ({fault}); "
        "try again with a network, or set RAINBOW_KAFKA_JARS to a folder of Kafka's jars"
    )


@contextmanager
def _held(path: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock file; it is free again when this process ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another process fetches the jars: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
