"""Ctrl-C that nothing swallows: a library may lose the KeyboardInterrupt, so that it was asked for is remembered and looked at again.

Libraries catch all exceptions at import and in callbacks of C code; what was raised there is gone. Work in steps calls ``check``
between them.
"""

from __future__ import annotations

import signal
from types import FrameType

_asked = False


def install() -> None:
    """Remember Ctrl-C from now on; it raises KeyboardInterrupt as ever. For the main thread of a command."""
    signal.signal(signal.SIGINT, ask)


def ask(_number: int, _frame: FrameType | None) -> None:
    """The end was asked for. Raises KeyboardInterrupt."""
    global _asked
    _asked = True
    raise KeyboardInterrupt


def ended() -> None:
    """The work is done: ignore who asks for the end once more. Python takes other handlers away before it is gone, and a signal would then
    kill a process that ended well."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raise KeyboardInterrupt when the end was asked for, even if it was raised before and lost."""
    if _asked:
        raise KeyboardInterrupt
