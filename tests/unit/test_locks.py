"""Locks are held by one at a time, and end with their process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rainbow.errors import RainbowError
from rainbow.partitions.locks import FileLocks, holding


@pytest.fixture
def locks(tmp_path: Path) -> FileLocks:
    return FileLocks(tmp_path / "locks")


def test_a_lock_is_held_by_one_at_a_time_and_says_who_has_it(locks: FileLocks) -> None:
    held = locks.take("batch", "the first")
    assert held
    assert locks.take("batch", "the second") is None
    assert locks.owner("batch") == "the first"
    other = locks.take("report 2024-09-01", "somebody else")
    assert other
    other.let_go()
    held.let_go()
    assert locks.owner("batch") is None
    again = locks.take("batch", "the third")
    assert again
    again.let_go()


def test_a_held_lock_is_an_error_of_one_line_and_an_error_lets_go(locks: FileLocks) -> None:
    refused = pytest.raises(RainbowError, match=r"under way \(a run of 2024-09-01\)")
    with holding(locks, "batch", "a run of 2024-09-01"), refused, holding(locks, "batch", "me"):
        pass
    with pytest.raises(ZeroDivisionError), holding(locks, "batch", "me"):
        raise ZeroDivisionError
    assert locks.owner("batch") is None


def test_a_killed_process_holds_no_lock(locks: FileLocks) -> None:
    code = (
        "import sys, time; from pathlib import Path; from rainbow.partitions.locks import FileLocks\n"
        "held = FileLocks(Path(sys.argv[1])).take('batch', 'the killed one'); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(locks.folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    assert locks.owner("batch") == "the killed one"
    assert locks.take("batch", "me") is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert locks.owner("batch") is None
    held = locks.take("batch", "me")
    assert held
    held.let_go()


def test_many_processes_never_hold_it_together(locks: FileLocks, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from rainbow.partitions.locks import FileLocks\n"
        "locks, counter = FileLocks(Path(sys.argv[1])), Path(sys.argv[2])\n"
        "done = 0\n"
        "while done < 25:\n"
        "    held = locks.take('batch', 'x')\n"
        "    if held:\n"
        "        n = int(counter.read_text()); time.sleep(0.001); counter.write_text(str(n + 1)); done += 1; held.let_go()\n"
    )
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", code, str(locks.folder), str(counter)]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert counter.read_text() == "100"
