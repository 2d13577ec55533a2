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
    if name not in DECOMPRESSORS:
        raise CodingError(f"Unknown Content-Encoding {encoding}")
    frames = _Frames(DECOMPRESSORS[name])
    return Coder(frames.feed, frames.end)


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


DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": lambda: zlib.decompressobj(wbits=15),
    "zstd": zstd.ZstdDecompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
}


class _Frames:
    """Compressed frames one after the other, which is how some clients send their blocks; the last one must be complete."""

    def __init__(self, decompressor: Callable[[], Any]) -> None:
        self._decompressor = decompressor
        self._frame: Any = None

    def feed(self, piece: bytes) -> bytes:
        out = []
        while piece:
            if self._frame is None or self._frame.eof:
                self._frame = self._decompressor()
            try:
                out.append(self._frame.decompress(piece))
            except (zlib.error, zstd.ZstdError, RuntimeError, EOFError) as error:
                raise CodingError(f"The body cannot be decompressed: {error}") from None
            piece = (self._frame.unused_data or b"") if self._frame.eof else b""
        return b"".join(out)

    def end(self) -> bytes:
        if self._frame is not None and not self._frame.eof:
            raise CodingError("The body ends before its compression does")
        return b""


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
