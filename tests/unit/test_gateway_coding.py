"""Content encodings: `rainbow.stack.gateway.coding`."""

from __future__ import annotations

import gzip
import zlib

import lz4.frame
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from rainbow.stack.gateway.answer import encoded
from rainbow.stack.gateway.coding import CodingError, decoded, encoder

COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress, "lz4": lz4.frame.compress}


@pytest.mark.parametrize("name", ["lz4", "zstd", "gzip", "deflate"])
@given(pieces=st.lists(st.binary(max_size=100)))
def test_what_is_encoded_is_what_is_decoded(name: str, pieces: list[bytes]) -> None:
    chosen = encoder(f"br, {name};q=0.5")
    assert chosen is not None
    assert chosen[0] == name
    assert b"".join(decoded(encoded(pieces, chosen[1]), name)) == b"".join(pieces)


@pytest.mark.parametrize("name", list(COMPRESS))
def test_frames_may_follow_one_another_and_be_cut_anywhere(name: str) -> None:
    body = COMPRESS[name](b"one") + COMPRESS[name](b"two")
    assert b"".join(decoded([body[at : at + 1] for at in range(len(body))], name)) == b"onetwo"
    assert b"".join(decoded([body], name)) == b"onetwo"


@pytest.mark.parametrize("name", list(COMPRESS))
def test_a_body_that_is_cut_short_or_broken_is_an_error(name: str) -> None:
    whole = COMPRESS[name](bytes(range(256)) * 100)
    for body in (whole[: len(whole) // 2], b"this is not it, and never was"):
        with pytest.raises(CodingError):
            list(decoded([body], name))


def test_an_unknown_encoding_is_an_error_and_none_is_none() -> None:
    with pytest.raises(CodingError):
        list(decoded([b"x"], "br"))
    assert list(decoded([b"x"], "")) == [b"x"]
    assert encoder("br, identity") is None
