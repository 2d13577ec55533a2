"""The routes: which call goes where, and what the OpenAPI document says of it."""

from __future__ import annotations

from enum import Enum
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response

from api.controllers import ORDERS, OrderController
from api.database import Database
from api.metrics import Metrics
from api.models import LARGEST_ID
from api.problems import unavailable
from api.repositories import PROBE
from api.schemas import ListQuery, NewOrderBody, OrderAnswer, PageAnswer, ProblemAnswer, ServiceAnswer, StateAnswer

NAME = "Rainbow orders"
VERSION = version("rainbow-workbench")

# what the document puts together
SERVICE: list[str | Enum] = ["service"]
ORDER: list[str | Enum] = ["orders"]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What the document says of the errors of a route."""
    return {
        status: {
            "description": _TEXTS[status],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            **({"headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}} if status == 503 else {}),
        }
        for status in statuses
    }


_TEXTS = {
    400: "The request is not valid; `errors` says where.",
    401: "The token is missing or wrong.",
    404: "There is no such order.",
    409: "Not enough in stock, or the key came with another body before.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    500: "Something went wrong here.",
    503: "The database cannot be reached in time.",
}

_CREATE = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewOrder"}}},
    },
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "The same key and body give the same answer, however often they are sent; see docs/api.md.",
            "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
        }
    ],
}


def add_service_routes(app: FastAPI, database: Database, metrics: Metrics) -> None:
    """``/ping``, ``/``, ``/ready`` and ``/metrics``."""

    @app.get("/ping", tags=SERVICE, response_model=StateAnswer, summary="Whether the service is alive")
    async def ping() -> Response:
        return _ok()

    @app.get("/ready", tags=SERVICE, response_model=StateAnswer, summary="Whether the database can be reached", responses=problems(503))
    async def ready() -> Response:
        async with database.session() as session:
            (there,) = await session.ask(PROBE)
        if not all(there):
            raise unavailable("the shop's tables are not there: `rainbow seed` makes them", 30)
        return _ok()

    @app.get("/", tags=SERVICE, summary="What this service is")
    async def information() -> ServiceAnswer:
        return ServiceAnswer(name=NAME, version=VERSION, documentation="/docs", openapi="/openapi.json", orders=ORDERS)

    @app.get(
        "/metrics",
        tags=SERVICE,
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics."}},
    )
    async def measured() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def add_order_routes(app: FastAPI, controller: OrderController) -> None:
    """The three calls of orders. They are looked for in this order, so what is called most stands first."""

    @app.post(
        ORDERS,
        tags=ORDER,
        status_code=201,
        response_model=OrderAnswer,
        summary="Place an order",
        description="All or nothing: prices and discounts are those of this moment, stock is taken, sold pieces are counted.",
        responses={
            201: {
                "description": "The order is placed.",
                "headers": {
                    "Location": {"schema": {"type": "string"}, "description": "Where the order is."},
                    "Idempotent-Replayed": {"schema": {"type": "string"}, "description": "`true`: the kept answer of an earlier request."},
                },
            },
            **problems(400, 409, 413, 415, 500, 503),
        },
        openapi_extra=_CREATE,
    )
    async def create_order(request: Request) -> Response:
        return await controller.create(request)

    @app.get(ORDERS + "/{id}", tags=ORDER, response_model=OrderAnswer, summary="An order", responses=problems(400, 404, 500, 503))
    async def get_order(id: Annotated[int, Path(ge=1, le=LARGEST_ID, description="The order's id.", examples=[1])]) -> Response:
        return await controller.get(id)

    @app.get(
        ORDERS,
        tags=ORDER,
        response_model=PageAnswer,
        summary="Orders, the newest first",
        responses={
            200: {"headers": {"Link": {"schema": {"type": "string"}, "description": 'The next page, `rel="next"` (RFC 8288).'}}},
            **problems(400, 500, 503),
        },
    )
    async def list_orders(request: Request, query: Annotated[ListQuery, Query()]) -> Response:
        return await controller.select(request, query)


def _ok() -> Response:
    return Response(b'{"status":"ok"}', media_type="application/json")


BODIES = (NewOrderBody, ProblemAnswer)
