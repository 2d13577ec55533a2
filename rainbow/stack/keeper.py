"""Keeps a command running: starts it again whenever a signal ended it, as a service manager would.

``python keeper.py <command> ...``, a program of its own that needs nothing but the standard library. What the command's own code
decides, an exit code, is passed on; a crash of native code is not (librdkafka may read memory that it did not write when a broker
comes back: its issue 5280), nor is the system's want of memory. SIGTERM and SIGINT are the command's to obey.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

# seconds before it is started again: at first, and after many crashes in a row
FIRST_PAUSE, LAST_PAUSE = 0.2, 10.0
# seconds after which a crash is no longer one in a row
SETTLED = 60.0


def keep(command: Sequence[str]) -> int:
    """Run a command until it ends by itself, or is asked to; returns as `subprocess.Popen.wait` does."""
    stopping = threading.Event()
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _frame: FrameType | None) -> None:
        stopping.set()
        if child:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    pause = FIRST_PAUSE
    while True:
        began = time.monotonic()
        child = subprocess.Popen(command)
        if stopping.is_set():
            child.terminate()
        code = child.wait()
        if code >= 0 or stopping.is_set():
            return code
        if time.monotonic() - began > SETTLED:
            pause = FIRST_PAUSE
        now, ended_by = time.strftime("%Y-%m-%d %H:%M:%S"), signal.Signals(-code).name
        print(f"{now}  ended by {ended_by}; it is started again in {pause:g} s", file=sys.stderr, flush=True)
        if stopping.wait(pause):
            return code
        pause = min(2 * pause, LAST_PAUSE)


def main() -> None:
    """Keep the command of the command line, and end as it ended."""
    code = keep(sys.argv[1:])
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
