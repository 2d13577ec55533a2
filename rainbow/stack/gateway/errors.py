"""ClickHouse's exceptions: a code, a name and a text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")
# chdb puts words of its own before an exception, and wraps some in themselves, code and all
BEFORE = re.compile(r"^(?:Streaming [\w ]+ failed: )?(?:Code: \d+\. DB::Exception: )*(?=Code: \d+\. DB::Exception: )")


class EngineError(Exception):
    """An exception of ClickHouse: its code and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @classmethod
    def of(cls, code: int, name: str, message: str) -> EngineError:
        """An exception that the gateway raises itself, written as ClickHouse writes its own."""
        return cls(code, f"Code: {code}. DB::Exception: {message}. ({name})")


@contextmanager
def raised_by_chdb() -> Iterator[None]:
    """Turn the RuntimeError in which chdb tells an exception, as text, into an EngineError."""
    try:
        yield
    except RuntimeError as error:
        text = BEFORE.sub("", str(error).strip())
        code = CODE.match(text)
        raise (EngineError(int(code.group(1)), text) if code else EngineError.of(1002, "UNKNOWN_EXCEPTION", text)) from None
