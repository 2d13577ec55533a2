"""Where a service keeps its things under RAINBOW_HOME: data, log, password, port and the note of the process that runs.

Files with a password in them are of mode 600 and are replaced in one step, so a reader sees the old one or the new one.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rainbow.errors import RainbowError

LOG_LIMIT = 10_000_000

OWN_HOME = "run this as that user, or set RAINBOW_HOME to a folder of your own"


@dataclass(frozen=True)
class Place:
    """The folder of one service, ``RAINBOW_HOME/stack/<name>``."""

    folder: Path

    @property
    def data(self) -> Path:
        """The folder that the service's own files live in."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the service prints."""
        return self.folder / "log"

    @property
    def process_file(self) -> Path:
        """Process id and start time of the process that was started last."""
        return self.folder / "process"

    @property
    def password_file(self) -> Path:
        """The service's password; it stays with the data that it protects."""
        return self.folder / "password"

    @property
    def port_file(self) -> Path:
        """The ports that were used last, so that a restart keeps them."""
        return self.folder / "port"

    def make(self) -> None:
        """Make the folder: others may pass through it (a service may run as another user), but not look into it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.folder.parent, self.folder):
            folder.chmod(0o711)

    def make_password(self) -> bool:
        """Make the service's password unless it has one; returns whether it is new."""
        if self.password_file.exists():
            return False
        write_private(self.password_file, secrets.token_urlsafe(24))
        return True

    def password(self) -> str:
        """The service's password; raises FileNotFoundError before the first start."""
        return self.password_file.read_text().strip()

    def remembered_ports(self) -> list[int]:
        """The ports of the last start, none before the first."""
        try:
            return [int(port) for port in self.port_file.read_text().split()]
        except (FileNotFoundError, ValueError):
            return []

    def remember_ports(self, ports: Sequence[int]) -> None:
        """Keep the ports for the next start."""
        write_private(self.port_file, " ".join(map(str, ports)))

    def remembered_uses(self) -> str:
        """What `remember_uses` was given at the last start, empty before the first."""
        try:
            return (self.folder / "uses").read_text()
        except FileNotFoundError:
            return ""

    def remember_uses(self, mark: str) -> None:
        """Keep a mark of the other services' URLs that the service is started with."""
        write_private(self.folder / "uses", mark)

    def turn_log(self) -> None:
        """Put a log that has grown beyond 10 MB aside, as ``log.1``."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".1"))

    def last_lines(self, count: int) -> list[str]:
        """The last lines of the log, oldest first; reads at most its last 256 KB."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 262_144))
            return file.read().decode(errors="replace").splitlines()[-count:] if count else []


def place_of(home: Path, service: str) -> Place:
    """The place of a service under RAINBOW_HOME."""
    return Place(home / "stack" / service)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 600 in one step: a reader sees the old content or the new, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def locked(home: Path, *, patience: float = 120) -> Iterator[None]:
    """Hold RAINBOW_HOME's stack for one ``up`` or ``down`` at a time; wait up to ``patience`` seconds for another's end.

    Raises RainbowError when the other does not end.
    """
    folder = home / "stack"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError as error:
        raise RainbowError(f"{error.filename} belongs to another user; {OWN_HOME}") from None
    deadline = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RainbowError(
                        f"another `rainbow up` or `rainbow down` has held {folder} for {patience:.0f} s; end it and try again"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
