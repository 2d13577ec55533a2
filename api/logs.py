"""The service's log: a JSON object a line, on standard output. What a caller sends is never in it, nor are URLs of settings."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, BinaryIO, cast

import orjson
import structlog


def configure() -> None:
    """Let structlog and the libraries' own loggers write the same JSON lines."""
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    # a frame's variables hold what the caller sent, its token too
    tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
    structlog.configure(
        processors=[stamp, structlog.processors.add_log_level, tracebacks, _as_json],
        logger_factory=structlog.BytesLoggerFactory(cast(BinaryIO, sys.__stdout__.buffer) if sys.__stdout__ else None),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.__stdout__)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[stamp, structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _as_text],
        )
    )
    root = logging.getLogger()
    root.handlers, root.level = [handler], logging.WARNING


def _as_json(logger: Any, name: str, event: MutableMapping[str, Any]) -> bytes:
    return orjson.dumps(event, default=str)


def _as_text(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
    event.pop("exc_info", None)
    return orjson.dumps(event, default=str).decode()
