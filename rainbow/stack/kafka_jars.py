"""The jars of Apache Kafka: fetched once from the Maven repository, each held against the hash in ``kafka_jars.lock``.

A fetch writes into a draft beside the folder and renames that when it is complete, so the folder has all jars or does not
exist. What an interrupted fetch left in the draft is used by the next one, as far as it is whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
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


def state(named: Settings) -> str:
    """Where the jars are, or will be, in a few words; raises ServiceError when the folder that the settings name has none."""
    if named.kafka_jars:
        _check(named.kafka_jars)
        return f"jars in {named.kafka_jars}"
    if _has_all(folder(named)):
        return f"jars of Apache Kafka {VERSION} in {folder(named)}"
    return f"jars of Apache Kafka {VERSION} are fetched by the first `rainbow up --stream`"


def provide(named: Settings, tell: Callable[[str], None]) -> None:
    """Fetch the jars unless they are there; raises ServiceError when a folder that the settings name has none, or there is no network."""
    if named.kafka_jars is None:
        fetch(folder(named), tell, named.maven_url.get_secret_value() if named.maven_url else None)
    else:
        _check(named.kafka_jars)


def fetch(target: Path, tell: Callable[[str], None] = lambda text: None, repository: str | None = None) -> None:
    """Fetch the jars into the folder ``target`` unless it has them; of several at once one fetches and the others wait for it.

    ``tell`` is given lines of progress; ``repository`` is a Maven repository's URL, by default Maven Central. Raises
    ServiceError when a jar cannot be had.
    """
    if _has_all(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with _held(target.with_name(f".{target.name}.lock"), tell):
        if _has_all(target):
            return
        draft = _Draft(target.with_name(f".{target.name}.draft"), repository)
        if target.exists():
            # a jar was removed, or the lock has changed
            shutil.rmtree(draft.jars, ignore_errors=True)
            draft.folder.mkdir(exist_ok=True)
            target.rename(draft.jars)
        draft.fetch(locked_jars(), tell)
        draft.jars.rename(target)
        shutil.rmtree(draft.folder, ignore_errors=True)


def _has_all(jars: Path) -> bool:
    """Whether the folder has the jars of the lock and no others; each of them was held against its hash when it came."""
    return {path.name for path in jars.glob("*.jar")} == {jar.file_name for jar in locked_jars()}


def _check(jars: Path) -> None:
    """Raise ServiceError when a folder that the settings name has no Kafka in it."""
    if not any(jars.glob("kafka_*.jar")):
        raise ServiceError(f"kafka: {jars} has no kafka_*.jar; set RAINBOW_KAFKA_JARS to a folder of Kafka's jars, or unset it")


@dataclass(frozen=True)
class _Draft:
    """The folder that jars are fetched into, and the repository that they come from (None: jgo's, Maven Central)."""

    folder: Path
    repository: str | None
    given_up: threading.Event = field(default_factory=threading.Event)

    @property
    def jars(self) -> Path:
        """The jars that are whole, and nothing else."""
        return self.folder / "jars"

    def fetch(self, jars: list[Jar], tell: Callable[[str], None]) -> None:
        """Fetch all of them, several at a time; the first that cannot be had ends it."""
        self.jars.mkdir(parents=True, exist_ok=True)
        for path in self.jars.iterdir():
            if path.name not in {jar.file_name for jar in jars}:
                path.unlink()
        done, fetched_bytes, told = 0, 0, time.monotonic()
        tell(f"{len(jars)} jars of Apache Kafka {VERSION}, about 45 MB, once")
        pool = ThreadPoolExecutor(PARALLEL)
        try:
            for future in as_completed([pool.submit(self._fetch_one, jar) for jar in jars]):
                done, fetched_bytes = done + 1, fetched_bytes + future.result()
                if done == len(jars) or time.monotonic() - told > SECONDS_BETWEEN_REPORTS:
                    tell(f"{done} of {len(jars)} jars, {fetched_bytes / 1e6:.0f} MB")
                    told = time.monotonic()
        finally:
            self.given_up.set()
            pool.shutdown(cancel_futures=True)

    def _fetch_one(self, jar: Jar) -> int:
        """Fetch a jar unless it is there; returns its size in bytes."""
        path = self.jars / jar.file_name
        if jar.is_whole(path):
            return path.stat().st_size
        fault = "given up"
        for attempt in range(ATTEMPTS):
            if self.given_up.wait(attempt):
                break
            try:
                download = self._download(jar)
                if jar.is_whole(download):
                    return download.replace(path).stat().st_size
                fault = f"what came is not what {LOCK.name} names"
            except RuntimeError:
                fault = "it is not there"
            except OSError as error:  # requests' errors, too
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                fault = error.strerror or type(error).__name__
        raise ServiceError(
            f"kafka: {jar.coordinate} cannot be fetched ({fault}); "
            "try again with a network, or set RAINBOW_MAVEN_URL to a repository or RAINBOW_KAFKA_JARS to a folder that has it"
        )

    def _download(self, jar: Jar) -> Path:
        """Let jgo download a jar; what it writes is whole only if this returns."""
        from jgo.maven import MavenContext

        remote = {"repository": self.repository.rstrip("/")} if self.repository else None
        context = MavenContext(repo_cache=self.folder / "repository", remote_repos=remote, timeout=30)
        artifact = context.create_dependency(jar.coordinate).artifact
        # jgo takes a file that is there for a whole one
        if artifact.cached_path:
            artifact.cached_path.unlink(missing_ok=True)
        return artifact.resolve()


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
