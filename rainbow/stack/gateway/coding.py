"""Content encodings, piece by piece: what clients send compressed and would like to get compressed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import lz4.frame
from backports import zstd

# compressed bytes that are decompressed in one go; they may become a thousand times as many
SLICE = 2**16


class CodingError(Exception):
    """A body that is not what its Content-Encoding says, or an encoding that is not known here."""


@dataclass(frozen=True)
class Coder:
    """Turns pieces into pieces; ``end`` gives what is left at the end."""

    feed: Callable[[bytes], bytes]
    end: Callable[[], bytes]


def decoder(encoding: str) -> Coder:
    """What undoes a request's Content-Encoding; raises CodingError for one that is not known."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return Coder(lambda piece: piece, lambda: b"")
    if name in ("gzip", "deflate"):
        inflater = zlib.decompressobj(wbits=47)
        return Coder(_guarded(inflater.decompress), lambda: _end(inflater.flush(), inflater.eof))
    if name == "zstd":
        unzstd = zstd.ZstdDecompressor()
        return Coder(_guarded(unzstd.decompress), lambda: _end(b"", unzstd.eof))
    if name == "lz4":
        return Coder(_guarded(_Lz4Frames().decompress), lambda: b"")
    raise CodingError(f"Unknown Content-Encoding {encoding}")


def encoder(accepted: str) -> tuple[str, Coder] | None:
    """The encoding to answer in, of those that the client accepts, and its coder; None: as it is."""
    names = [part.split(";")[0].strip().lower() for part in accepted.split(",")]
    for name in ("lz4", "zstd", "gzip", "deflate"):
        if name not in names:
            continue
        if name == "lz4":
            return name, _lz4_encoder()
        if name == "zstd":
            compressor: Any = zstd.ZstdCompressor(level=1)
        else:
            compressor = zlib.compressobj(level=1, wbits=31 if name == "gzip" else 15)
        return name, Coder(compressor.compress, compressor.flush)
    return None


def decoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The pieces without their Content-Encoding; raises CodingError."""
    coder = decoder(encoding)
    for piece in pieces:
        for begin in range(0, len(piece), SLICE):
            if out := coder.feed(piece[begin : begin + SLICE]):
                yield out
    if out := coder.end():
        yield out


class _Lz4Frames:
    """Several frames one after the other, which is how clickhouse-connect compresses its blocks."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameDecompressor()

    def decompress(self, piece: bytes) -> bytes:
        out = []
        while piece:
            if self._frame.eof:
                self._frame = lz4.frame.LZ4FrameDecompressor()
            out.append(self._frame.decompress(piece))
            piece = self._frame.unused_data or b"" if self._frame.eof else b""
        return b"".join(out)


def _lz4_encoder() -> Coder:
    frame = lz4.frame.LZ4FrameCompressor()
    begun = False

    def feed(piece: bytes) -> bytes:
        nonlocal begun
        head = b"" if begun else frame.begin()
        begun = True
        return head + frame.compress(piece)

    def end() -> bytes:
        return (b"" if begun else frame.begin()) + frame.flush()

    return Coder(feed, end)


def _guarded(decompress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def feed(piece: bytes) -> bytes:
        try:
            return decompress(piece)
        except (zlib.error, zstd.ZstdError, RuntimeError, EOFError) as error:
            raise CodingError(f"The body cannot be decompressed: {error}") from None

    return feed


def _end(rest: bytes, complete: bool) -> bytes:
    if not complete:
        raise CodingError("The body ends before its compression does")
    return rest
