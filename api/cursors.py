"""The listing's cursor: a position as an opaque text, and back.

It names the last order of a page by moment and id, so the next page is found by an index whatever was added meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import struct
from datetime import UTC, datetime, timedelta

from api.models import Position

LONGEST = 24

_FORM = struct.Struct(">BqQ")
_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encoded(position: Position) -> str:
    """The cursor of a position: URL-safe, without padding."""
    microseconds = (position.created_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(_FORM.pack(_VERSION, microseconds, position.id)).rstrip(b"=").decode()


def decoded(cursor: str) -> Position:
    """The position of a cursor. Raises ValueError when it is none of ours."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        version, microseconds, id_ = _FORM.unpack(base64.b64decode(padded, altchars=b"-_", validate=True))
        position = Position(_EPOCH + timedelta(microseconds=microseconds), id_)
    except (struct.error, binascii.Error, OverflowError, ValueError):
        raise ValueError("not a cursor of this listing") from None
    if version != _VERSION or id_ >= 2**63 or encoded(position) != cursor:
        raise ValueError("not a cursor of this listing")
    return position
