"""Stops the local stacks of a test process that was killed before it could do so itself.

A process of its own, in a session of its own, reads the stacks' folders from a pipe. The pipe ends with the test process, however
that ends; a folder that is still there then has a stack to stop.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path


def keep(folder: Path | str) -> None:
    """Have the stack in a folder stopped, and the folder removed, when this process is gone and it is still there."""
    pipe = _keeper(os.getpid()).stdin
    assert pipe
    pipe.write(f"{folder}\n")
    pipe.flush()


@functools.cache
def _keeper(process: int) -> subprocess.Popen[str]:
    """The keeper of this process."""
    return subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, text=True, start_new_session=True)


def main() -> None:
    """Wait for the end of the test process, and clear up."""
    folders = [Path(line.rstrip("\n")) for line in sys.stdin]
    for folder in folders:
        if folder.exists():
            from rainbow import stack

            os.environ["RAINBOW_HOME"] = str(folder)
            stack.down()
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
