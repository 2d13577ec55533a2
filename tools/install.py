"""Make ``.venv`` hold the exact versions of ``requirements.lock`` and this project; does nothing when it does already.

With ``--dev`` also those of ``requirements-dev.lock``, which tests and linters need; once they are there, they stay.
Needs a Python with ``venv`` and a package index, nothing else. pip installs uv, uv installs the rest: each file is held against
the lock's hash and its bytecode is compiled, since a notebook's kernel starts several times faster with it. An install that was
broken off leaves ``.venv/unfinished`` behind, and the next one starts afresh.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
DISCARDED = ROOT / ".venv.discarded"
LOCK = ROOT / "requirements.lock"
DEV_LOCK = ROOT / "requirements-dev.lock"
PYTHON = VENV / "bin" / "python"
UNFINISHED = VENV / "unfinished"
DONE = VENV / "installed.json"

# what the project must never inherit: it says where packages go, or that no bytecode is written
UNWANTED = (
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_CONSTRAINT",
    "UV_CONSTRAINT",
)


class InstallError(Exception):
    """Something that stops the install, told in one line."""


def main() -> int:
    """Install what is missing; 0 when all is there."""
    held = os.open(ROOT, os.O_RDONLY)
    # children keep the lock, so an uv that outlives an interrupted install cannot write into the next one's folder
    os.set_inheritable(held, True)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another install of this folder is under way: waiting for its end", flush=True)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        found = installed()
        dev = "--dev" in sys.argv[1:] or bool(found and found.get("dev"))
        if found != (wanted := state(dev=dev)):
            install(wanted)
    except InstallError as error:
        print(f"install: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninstall: interrupted; the same command makes .venv again", file=sys.stderr)
        return 130
    return 0


def state(*, dev: bool) -> dict[str, str]:
    """What an installed environment depends on; a moved folder needs a new one, since scripts name their interpreter's path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = json.dumps([project["build-system"], project["project"], project["tool"]["hatch"]], sort_keys=True)
    return {
        "python": ".".join(map(str, sys.version_info[:2])),
        "folder": str(ROOT),
        "lock": hashlib.sha256(LOCK.read_bytes()).hexdigest(),
        "dev": hashlib.sha256(DEV_LOCK.read_bytes()).hexdigest() if dev else "",
        "project": hashlib.sha256(parts.encode()).hexdigest(),
    }


def installed() -> dict[str, str] | None:
    """What the environment was made from; None when there is none, or only a part of one."""
    if UNFINISHED.exists() or not works(PYTHON):
        return None
    try:
        found = json.loads(DONE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def may_be_kept(wanted: dict[str, str]) -> bool:
    """Whether ``.venv``, by whomever it was made, is whole, in its place, of the right Python, and has pip."""
    if UNFINISHED.exists() or (installed() or wanted)["folder"] != wanted["folder"]:
        return False
    command = [PYTHON, "-c", "import pip, sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout.strip() == wanted["python"]
    except OSError:
        return False


def works(python: Path) -> bool:
    """Whether this interpreter runs: not after the Python that it links to was removed."""
    try:
        return subprocess.run([python, "-c", ""], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def install(wanted: dict[str, str]) -> None:
    """Bring ``.venv`` to the lock's state."""
    began = time.monotonic()
    if DISCARDED.exists():
        shutil.rmtree(DISCARDED)
    kept = may_be_kept(wanted)
    if not kept and VENV.exists():
        VENV.rename(DISCARDED)
        shutil.rmtree(DISCARDED)
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    if not kept:
        print(f"making .venv with Python {'.'.join(map(str, sys.version_info[:3]))}", flush=True)
        make_venv()
    run("installing uv", [PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--requirement", uv_lock()])
    locks = [LOCK, DEV_LOCK] if wanted["dev"] else [LOCK]
    count = sum(line[:1].isalnum() for lock in locks for line in lock.read_text(encoding="utf-8").splitlines())
    uv = [VENV / "bin" / "uv", "--quiet", "--no-progress", "pip"]
    place = ["--python", PYTHON]
    print(f"installing {count} packages from {' and '.join(lock.name for lock in locks)}, a minute or two", flush=True)
    run("installing the packages", [*uv, "sync", *place, "--require-hashes", "--compile-bytecode", *locks], watch=count)
    run("installing the project", [*uv, "install", *place, "--no-deps", "--no-build-isolation", "--editable", ROOT])
    DONE.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    UNFINISHED.unlink()
    print(f".venv is ready, {time.monotonic() - began:.0f} s", flush=True)


def make_venv() -> None:
    """An environment with pip, at VENV."""
    # a virtual environment's python does not always find its base's ensurepip, so the base makes it
    base = getattr(sys, "_base_executable", None) or sys.executable
    result = subprocess.run(
        [base, "-m", "venv", VENV], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
    )
    if result.returncode or not works(PYTHON):
        if "ensurepip" in result.stdout:
            version = ".".join(map(str, sys.version_info[:2]))
            raise InstallError(f"this Python has no ensurepip, which venv needs: on Debian or Ubuntu, apt-get install python{version}-venv")
        raise InstallError(f"python -m venv failed: {' '.join(result.stdout.split())}")


def uv_lock() -> Path:
    """The lock's entry of uv, in a file of its own."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("uv=="))
    entry = [lines[first]]
    while entry[-1].endswith("\\"):
        entry.append(lines[first + len(entry)])
    path = VENV / "uv.lock"
    path.write_text("\n".join(entry) + "\n", encoding="utf-8")
    return path


def run(what: str, command: list[object], watch: int = 0) -> None:
    """Run a command to its end, quietly; its own words are shown when it fails. With ``watch``, count the packages on a terminal."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd=ROOT,
            close_fds=False,
        )
        try:
            follow(child, watch if watch and sys.stdout.isatty() else 0)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        if child.returncode:
            output.seek(0)
            print(output.read().rstrip(), file=sys.stderr)
            raise InstallError(f"{what} failed (exit {child.returncode}); the lines above say why. The same command tries again")


def follow(child: subprocess.Popen[bytes], packages: int) -> None:
    """Wait for the child's end; on a terminal, one line says how far it is."""
    while child.poll() is None:
        if packages:
            there = sum(1 for _ in VENV.glob("lib/python*/site-packages/*.dist-info"))
            text = f"{there} of {packages} packages" if there < packages * 0.9 else f"{there} packages, compiling their bytecode"
            print(f"\r\033[K{text}", end="", flush=True)
        time.sleep(0.2)
    if packages:
        print("\r\033[K", end="", flush=True)


def environment() -> dict[str, str]:
    """The environment of pip and uv. uv does not read pip's configuration, so it is told the index that pip is configured to use."""
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    kept["PIP_USER"] = "0"
    kept["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    if works(PYTHON):
        for name, value in as_uv_says(pip_settings(kept)).items():
            kept.setdefault(name, value)
    return kept


def pip_settings(variables: dict[str, str]) -> dict[str, str]:
    """pip's settings for an install, by name; variables come before its files, and a section for install before the global one."""
    listed = subprocess.run(
        [PYTHON, "-m", "pip", "config", "list"], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=variables, check=False
    ).stdout
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{section}."):
                found[key[len(section) + 1 :]] = str(ast.literal_eval(value))
    return found


def as_uv_says(pip: dict[str, str]) -> dict[str, str]:
    """pip's settings as uv's variables."""

    def words(name: str) -> list[str]:
        return pip.get(name, "").split()

    places = [place for place in words("find-links") if "://" in place or Path(place).expanduser().exists()]
    said = {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": " ".join(words("extra-index-url")),
        # pip takes the best file of all indexes; hashes make that safe
        "UV_INDEX_STRATEGY": "unsafe-best-match" if words("extra-index-url") else "",
        "UV_FIND_LINKS": ",".join(places),
        "UV_NO_INDEX": "1" if pip.get("no-index", "").lower() in {"1", "true", "yes", "on"} else "",
        "UV_INSECURE_HOST": " ".join(words("trusted-host")),
        "UV_HTTP_TIMEOUT": pip.get("default-timeout", "") or pip.get("timeout", ""),
        "SSL_CERT_FILE": pip.get("cert", ""),
        "SSL_CLIENT_CERT": pip.get("client-cert", ""),
        "HTTPS_PROXY": pip.get("proxy", ""),
        "HTTP_PROXY": pip.get("proxy", ""),
    }
    return {name: value for name, value in said.items() if value}


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
