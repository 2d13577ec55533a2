"""Ctrl-C is remembered, whoever swallows it."""

from __future__ import annotations

import signal
import subprocess
import sys

SWALLOWS = """
import os, signal
from rainbow import interrupts
from rainbow.batch.context import step_of_run, within
from rainbow.partitions.dates import PartitionRange

interrupts.install()
interrupts.check()
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.sigtimedwait([], 1)
except BaseException:
    pass
else:
    raise SystemExit("not raised")
with within("a run"):
    try:
        with step_of_run("extract", PartitionRange.parse("2024-09-01")):
            raise SystemExit("the step was begun")
    except KeyboardInterrupt:
        print("ended")
"""


def test_a_ctrl_c_that_a_library_swallowed_ends_the_run_before_its_next_step(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWS], env={"PATH": "", "RAINBOW_HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


ASKED_AGAIN = """
import os, signal
from rainbow import interrupts

class Last:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGTERM):
        kill(process, number)

last = Last()
signal.signal(signal.SIGTERM, lambda *_: None)
{}
"""


def test_a_process_that_ended_well_is_not_killed_when_it_is_asked_once_more() -> None:
    codes = [
        subprocess.run([sys.executable, "-c", ASKED_AGAIN.format(last)], check=False).returncode for last in ("interrupts.ended()", "pass")
    ]
    assert codes == [0, -signal.SIGTERM]
