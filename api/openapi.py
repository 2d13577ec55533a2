"""The OpenAPI document: FastAPI's, made to say what this service does. Nothing answers 422, errors are problems, bodies are bounded."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import orjson
import psycopg
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.database import Database
from api.repositories import EXAMPLE
from api.routes import BODIES, problems

REFERENCE = "#/components/schemas/{model}"


def document(app: FastAPI, *, with_token: bool) -> None:
    """Let ``app.openapi()`` give the document, made at its first use."""

    def made() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, with_token)
        return app.openapi_schema

    app.openapi = made  # type: ignore[method-assign]


async def illustrate(app: FastAPI, database: Database, stopping: asyncio.Event) -> None:
    """Let the document's example be an order that this shop can place, as soon as it has something to sell; until told to stop."""
    while not stopping.is_set():
        with contextlib.suppress(psycopg.Error):
            async with database.session() as session:
                ((customer, payment, product),) = await session.ask(EXAMPLE)
            if None not in (customer, payment, product):
                example = {"customerId": customer, "payment_id": payment, "products": [{"productId": product, "quantity": 2}]}
                app.openapi()["components"]["schemas"]["NewOrder"]["examples"] = [example]
                return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), 5)


def _document(app: FastAPI, with_token: bool) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags)
    _, bodies = models_json_schema([(body, "validation") for body in BODIES], ref_template=REFERENCE)
    schemas: dict[str, Any] = made.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(bodies["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, calls in made["paths"].items():
        for call in calls.values():
            call["responses"].pop("422", None)
            call["responses"].update({str(k): v for k, v in problems(*([401] if with_token and path != "/ping" else [])).items()})
            if with_token and path != "/ping":
                call["security"] = [{"token": []}]
    if with_token:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return _with_titles(made)


def _with_titles(made: dict[str, Any]) -> dict[str, Any]:
    """Name the schemas by their titles, not by the classes that they come from."""
    schemas = made["components"]["schemas"]
    titles = {name: schema["title"] for name, schema in schemas.items()}
    made["components"]["schemas"] = {titles[name]: schema for name, schema in schemas.items()}
    text = orjson.dumps(made).decode()
    for name, title in titles.items():
        text = text.replace(f'"#/components/schemas/{name}"', f'"#/components/schemas/{title}"')
    return orjson.loads(text)
