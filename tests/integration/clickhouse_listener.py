"""ClickHouse's own HTTP listener, to hold the gateway against: libchdb.so of an npm package, fetched once, run in a process."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from rainbow.settings import PROJECT_ROOT
from rainbow.stack.place import locked
from rainbow.stack.ports import choose

PACKAGE = "@chdb/lib-linux-x64-gnu@26.7.3-stable.1"
CACHE = PROJECT_ROOT / ".rainbow" / "cache"
# the statement after it keeps the process, and with it the listener, alive
STATEMENTS = "SYSTEM START LISTEN HTTP; SELECT sleepEachRow(1) FROM numbers(100000) SETTINGS max_block_size=1, function_sleep_max_microseconds_per_block=0 FORMAT Null"


def missing() -> str | None:
    """Why the listener cannot run here, or None."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "ClickHouse's own listener is fetched for Linux on x86-64 only"
    return None if shutil.which("npm") else "npm is not there to fetch ClickHouse's own listener"


def library() -> Path:
    """libchdb.so, fetched at the first call; no script of the package is run."""
    found = CACHE / "libchdb-26.7.3.so"
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE, patience=600):
        if not found.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                subprocess.run(["npm", "pack", "--ignore-scripts", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
                with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
                    archive.extract("package/libchdb.so", folder, filter="data")
                (Path(folder) / "package" / "libchdb.so").rename(found)
    return found


@contextmanager
def listening(folder: Path) -> Iterator[str]:
    """The URL of a listener over a fresh folder; user ``default``, no password."""
    port = choose("clickhouse", 0, None)
    process = subprocess.Popen([sys.executable, __file__, str(library()), str(folder), str(port)], stdout=subprocess.DEVNULL)
    url = f"http://default:@127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(f"{url}/ping")
                break
            except httpx.TransportError:
                assert process.poll() is None, "the listener ended while it was starting"
                time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Listen until killed, or until the test process ends (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    library, folder, port = sys.argv[1:]
    chdb = ctypes.CDLL(library)
    words = [
        "clickhouse",
        f"--path={folder}",
        "--multiquery",
        f"--query={STATEMENTS}",
        "--",
        f"--http_port={port}",
        "--listen_host=127.0.0.1",
    ]
    chdb.chdb_query_cmdline(len(words), (ctypes.c_char_p * len(words))(*[word.encode() for word in words]))


if __name__ == "__main__":
    main()
