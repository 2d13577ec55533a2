"""The application: settings, pool, layers and middleware put together. ``served`` is what uvicorn is given."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.routing import Route

from api import logs
from api.controllers import OrderController, of_database
from api.dashboard import add_dashboard_routes
from api.database import Database
from api.metrics import Metrics
from api.middleware import Surrounding, Token
from api.openapi import document, illustrate
from api.problems import ProblemError, invalid_parameters
from api.retention import keep_forgetting
from api.routes import NAME, VERSION, add_order_routes, add_service_routes
from api.schemas import order_bytes
from api.services import OrderService
from rainbow.serving import end_with_parent
from rainbow.settings import Settings, settings

DESCRIPTION = """Orders of the Rainbow shop: placed all or nothing, at the prices of the moment.

Money is text (`"21.00"`), times are UTC, errors are problems of RFC 9457.
"""


def served() -> FastAPI:
    """The application as a server process has it: what is there now is for good, so the garbage collector need not look at it again.

    An order makes a few hundred objects that die young; looking through all of FastAPI's for them took a sixth of its time.
    """
    app = create_app()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    return app


def create_app(configuration: Settings | None = None) -> FastAPI:
    """The application for some settings, by default those of this process. Raises SettingsError when no PostgreSQL is named."""
    chosen = configuration or settings()
    logs.configure()
    database = Database(chosen.url_of("postgres"), size=chosen.api_pool_size, patience=chosen.api_pool_timeout)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await database.open()
        # told, not cancelled: to cancel what waits for a connection is not sure to end it
        stopping = asyncio.Event()
        forgetting = asyncio.create_task(keep_forgetting(database, chosen.api_key_days, stopping))
        watching = asyncio.create_task(end_with_parent())
        illustrating = asyncio.create_task(illustrate(app, database, stopping))
        try:
            yield
        finally:
            stopping.set()
            watching.cancel()
            await database.close()
            await asyncio.gather(forgetting, watching, illustrating, return_exceptions=True)

    app = FastAPIOffline(title=NAME, version=VERSION, description=DESCRIPTION, lifespan=lifespan, redoc_url=None, redirect_slashes=False)
    metrics = Metrics(database)
    add_order_routes(app, OrderController(OrderService(database, order_bytes)))
    add_service_routes(app, database, metrics)
    add_dashboard_routes(app)
    token = chosen.api_token.get_secret_value() if chosen.api_token else None
    if token:
        app.add_middleware(Token, token=token)
    if chosen.api_cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.strip() for origin in chosen.api_cors_origins.split(",")],
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"],
            expose_headers=["Location", "Link", "X-Request-Id", "Retry-After"],
        )
    app.add_middleware(Surrounding, metrics=metrics)
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(psycopg.Error, _database)
    document(app, with_token=token is not None)
    return app


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response(request.state.request_id)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return invalid_parameters(error.errors()).response(request.state.request_id)


async def _http(request: Request, error: Exception) -> Response:
    """What the router itself refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    known: dict[int, tuple[str, str]] = {
        404: ("not-found", "there is nothing here; / says what there is"),
        405: ("method-not-allowed", "this method is not for this path; the header Allow names those that are"),
    }
    kind, detail = known.get(error.status_code, ("http", str(error.detail)))
    headers: dict[str, Any] = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted({method for route in request.app.routes for method in _methods(route, request)}))
    return ProblemError(error.status_code, kind, detail, headers=headers).response(request.state.request_id)


def _methods(route: Any, request: Request) -> set[str]:
    """The methods of a route, if the request's path is its path; a router answers with those of the first one alone."""
    return (isinstance(route, Route) and route.path_regex.match(request.url.path) and route.methods) or set()


async def _database(request: Request, error: Exception) -> Response:
    assert isinstance(error, psycopg.Error)
    problem = of_database(error)
    structlog.get_logger("api").warning(
        "database", request_id=request.state.request_id, error=type(error).__name__, sqlstate=error.sqlstate, status=problem.status
    )
    return problem.response(request.state.request_id)
