"""Errors as RFC 9457 problems (``application/problem+json``), with the field at fault; nothing of a stack trace or of SQL is in them.

``type`` is a URN, since a problem's page has no fixed address; docs/api.md lists them. An error of a body has a JSON pointer (RFC 6901)
as in RFC 9457's own example, one of a query or a header its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20

Location = Sequence[int | str]


class ProblemError(Exception):
    """An answer that is an error: ``kind`` ends its type's URN, ``errors`` name what is wrong where, ``more`` are further members."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Iterable[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.errors, self.headers, self.more = list(errors), dict(headers or {}), more

    def response(self, request_id: str) -> Response:
        """The answer."""
        body = {
            "type": f"urn:rainbow:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **({"errors": self.errors[:MOST_ERRORS]} if self.errors else {}),
            **self.more,
            "request_id": request_id,
        }
        return Response(orjson.dumps(body), self.status, self.headers, MEDIA_TYPE)


def pointer(location: Location) -> str:
    """A JSON pointer as a URI fragment: ``#/products/0/quantity``."""
    return "#" + "".join("/" + quote(str(part).replace("~", "~0").replace("/", "~1")[:100]) for part in location)


def invalid_body(errors: Iterable[Mapping[str, Any]]) -> ProblemError:
    """400 for a body that pydantic refuses."""
    faults = [{"pointer": pointer(e["loc"]), "detail": e["msg"]} for e in errors]
    return ProblemError(400, "invalid-body", _summary(f["pointer"] + ": " + f["detail"] for f in faults), errors=faults)


def invalid_parameters(errors: Iterable[Mapping[str, Any]]) -> ProblemError:
    """400 for parameters of the query, the path or a header that FastAPI refuses; ``loc`` begins with which of them it is."""
    faults = [{"parameter": str(e["loc"][-1])[:100], "detail": e["msg"]} for e in errors]
    return ProblemError(400, "invalid-parameter", _summary(f["parameter"] + ": " + f["detail"] for f in faults), errors=faults)


def unavailable(detail: str, seconds: int = 1) -> ProblemError:
    """503, to be tried again after some seconds."""
    return ProblemError(503, "unavailable", detail, headers={"Retry-After": str(seconds)})


def _summary(faults: Iterable[str]) -> str:
    first, *others = faults
    return first + (f" (and {len(others)} more)" if others else "")
