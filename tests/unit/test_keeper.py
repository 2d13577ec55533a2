"""A kept command is started again after a crash, and only then; it is asked to end through its keeper."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rainbow.stack.streaming import KEEPER

SLEEP = "import time; time.sleep(60)"


def keeper_of(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*KEEPER, sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


def kept_by(keeper: subprocess.Popen[str], *, but: int = 0) -> int:
    """The kept process's id, another one than ``but``."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for child in psutil.Process(keeper.pid).children():
            if child.pid != but and child.status() != psutil.STATUS_ZOMBIE and child.cmdline()[-1] == SLEEP:
                return child.pid
        time.sleep(0.01)
    raise AssertionError("nothing is kept")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_what_a_signal_ends_is_started_again(number: signal.Signals) -> None:
    keeper = keeper_of(SLEEP)
    first = kept_by(keeper)
    os.kill(first, number)
    second = kept_by(keeper, but=first)
    keeper.terminate()
    _, said = keeper.communicate(timeout=20)
    assert re.fullmatch(rf"\S+ \S+  ended by {number.name}; it is started again in 0\.2 s\n", said)
    assert not psutil.pid_exists(second)


@pytest.mark.parametrize("code", [0, 3])
def test_what_ends_by_itself_is_not(tmp_path: Path, code: int) -> None:
    keeper = keeper_of(f"open({str(tmp_path / 'ran')!r}, 'a').write('x'); raise SystemExit({code})")
    assert keeper.wait(20) == code
    assert (tmp_path / "ran").read_text() == "x"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_end_is_the_commands_to_obey(number: signal.Signals) -> None:
    script = (
        "import signal, sys; signal.signal(signal.{0}, lambda *_: sys.exit(7)); print('ready', file=sys.stderr, flush=True); signal.pause()"
    )
    keeper = keeper_of(script.format(number.name))
    assert keeper.stderr
    assert keeper.stderr.readline() == "ready\n"
    keeper.send_signal(number)
    assert keeper.wait(20) == 7
    plain = keeper_of(SLEEP)
    kept_by(plain)
    plain.terminate()
    assert plain.wait(20) == -signal.SIGTERM


def test_crashes_in_a_row_are_farther_and_farther_apart(tmp_path: Path) -> None:
    keeper = keeper_of("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert keeper.stderr
    lines = [keeper.stderr.readline() for _ in range(4)]
    began = time.monotonic()
    keeper.terminate()
    keeper.communicate(timeout=20)
    assert time.monotonic() - began < 1
    assert [re.findall(r"in (\S+) s", line) for line in lines] == [["0.2"], ["0.4"], ["0.8"], ["1.6"]]


def test_a_keeper_is_small() -> None:
    keeper = keeper_of(SLEEP)
    kept_by(keeper)
    assert psutil.Process(keeper.pid).memory_info().rss < 20 << 20
    keeper.terminate()
    keeper.communicate(timeout=20)
