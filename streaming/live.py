"""The speed layer watched from a notebook: what runs where, what arrives, how soon a sale is in the figures, and that nothing is missing.

``start()`` uses a capture, a mirror and an orders API that run already, and else runs them for as long as the notebook wants.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from rainbow.errors import ServiceError
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.settings import PROJECT_ROOT, settings
from rainbow.source.connection import connect
from streaming import topics
from streaming.clients import consumer
from streaming.progress import Offsets, Watch, slot, wait_until_caught_up

if TYPE_CHECKING:
    import pandas as pd

ORDERS = "/api/v1/orders"
_PATIENCE = 60.0
_OPERATIONS = {"c": "insert", "u": "update", "d": "delete", "r": "snapshot", "t": "truncate"}


_STARTED: list[Live] = []


class Live:
    """The speed layer as a notebook sees it; ``stop`` ends what ``start`` began."""

    def __init__(self) -> None:
        self._stops: list[Callable[[], None]] = []
        self._events: deque[dict[str, Any]] = deque(maxlen=1000)
        self._watch = Watch()
        self.runs: dict[str, str] = {}
        self.api = ""
        self.client = connect_clickhouse()

    def stop(self) -> None:
        """End what was begun for this notebook, the last one first; what ran before goes on."""
        while self._stops:
            self._stops.pop()()

    def lag(self) -> pd.DataFrame:
        """How far capture and the mirror are, a row a table."""
        import pandas as pd

        found = self._watch.status()
        behind = None if found.slot is None else found.slot.lag
        return pd.DataFrame(
            [
                {
                    "table": one.table,
                    "events": one.records,
                    "not yet in ClickHouse": one.lag,
                    "newest change, UTC": one.last_event and one.last_event.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
                    "dead letters": one.dead_letters,
                    "slot's bytes behind": behind,
                }
                for one in found.tables
            ]
        )

    def events(self, limit: int = 20) -> pd.DataFrame:
        """The newest events that came while this notebook watched, the newest first."""
        import pandas as pd

        newest = sorted(self._events, key=lambda event: event["position"], reverse=True)[:limit]
        return pd.DataFrame(newest, columns=["at, UTC", "table", "what", "key", "position", "changed"])

    def sell(self, orders: int = 12) -> pd.DataFrame:
        """Post orders one by one, and wait for each until the unified view shows it; a row an order.

        ``visible after, ms`` is counted from the API's answer. Raises ServiceError when an order is not seen within a minute.
        """
        import pandas as pd

        rows = []
        with httpx.Client(base_url=self.api, timeout=30, trust_env=False, headers=_authorization()) as http:
            for body in _bodies(orders):
                before = self.today()["orders"]
                answer = http.post(ORDERS, json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
                answered = time.perf_counter()
                answer.raise_for_status()
                now = self._until_orders(before + 1, answered)
                order = answer.json()
                rows.append(
                    {
                        "order": order["id"],
                        "amount": float(order["amount"]),
                        "orders today": now["orders"],
                        "sales today": float(now["total_sales_amount"]),
                        "visible after, ms": round((time.perf_counter() - answered) * 1000),
                    }
                )
        return pd.DataFrame(rows)

    def today(self) -> dict[str, Any]:
        """Today's row of the unified view ``serving.total_sales``; zeros before the first sale."""
        found = list(
            self.client.query(
                "select * from serving.total_sales where sales_date = {day:Date}", parameters={"day": _today()}
            ).named_results()
        )
        return found[0] if found else {"orders": 0, "sales_quantity": 0, "total_sales_amount": 0}

    def proof(self) -> pd.DataFrame:
        """What PostgreSQL says of today, and what the unified view says; and whether any row of the mirror differs from PostgreSQL's.

        Raises ServiceError when the mirror does not catch up.
        """
        import pandas as pd

        from rainbow.partitions.dates import PartitionRange
        from rainbow.reconcile import reconcile
        from rainbow.trace import trace

        wait_until_caught_up(_PATIENCE)
        (found,) = trace(_today())
        shown = [place for place in found.places if place.name in ("source", "serving.total_sales")]
        differing = [
            one
            for one in reconcile(PartitionRange(_today(), _today()), settle=lambda: wait_until_caught_up(_PATIENCE)).differences
            if one.place in ("mirror", "serving.total_sales")
        ]
        rows = [{"place": place.name, **(place.figures or {})} for place in shown]
        rows.append({"place": "rows of today that differ in the mirror", "lines": sum(len(one.keys) for one in differing)})
        return pd.DataFrame(rows)

    def _until_orders(self, wanted: int, since: float) -> dict[str, Any]:
        while (now := self.today())["orders"] < wanted:
            if time.perf_counter() - since > _PATIENCE:
                raise ServiceError(f"an order was not in serving.total_sales after {_PATIENCE:.0f} s: see `rainbow stream status`")
            time.sleep(0.01)
        return now

    def _listen(self) -> None:
        """Take every event that comes from now on, in a thread."""
        from confluent_kafka import TopicPartition

        reader = consumer(f"{topics.PREFIX}-notebook-{uuid.uuid4()}")
        reader.assign([TopicPartition(topic, number, end) for (topic, number), end in Offsets().ends().items()])
        ending = threading.Event()

        def listen() -> None:
            with closing(reader):
                while not ending.is_set():
                    message = reader.poll(0.2)
                    if message is not None and not message.error() and message.value() is not None:
                        with suppress(ValueError, KeyError, TypeError):
                            self._events.append(_told(message))

        thread = threading.Thread(target=listen, name="events", daemon=True)
        thread.start()

        def end() -> None:
            ending.set()
            thread.join(5)

        self._stops.append(end)

    def _run(self, name: str, member: Any) -> None:
        thread = threading.Thread(target=member.run, name=name, daemon=True)
        thread.start()

        def end() -> None:
            member.stop()
            thread.join(15)

        self._stops.append(end)
        self.runs[name] = "for this notebook"

    def _serve_orders(self) -> str:
        """The address of an orders API: the one that the settings name, if it answers, else one of this notebook's own."""
        chosen = settings()
        named = f"http://{chosen.api_host}:{chosen.api_port}"
        if _answers(named):
            self.runs["orders API"] = named
            return named
        process = subprocess.Popen(
            [sys.executable, "-m", "rainbow", "api", "--port", "0"],
            cwd=PROJECT_ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout

        def end() -> None:
            process.terminate()
            process.wait(15)

        self._stops.append(end)
        line = process.stdout.readline()
        threading.Thread(target=lambda: deque(process.stdout or (), 0), daemon=True).start()
        if "/docs" not in line:
            raise ServiceError("the orders API did not start: `rainbow api` says why")
        self.runs["orders API"] = "for this notebook"
        address = line.split("/docs")[0]
        deadline = time.monotonic() + _PATIENCE
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError("the orders API did not start: `rainbow api` says why")
            time.sleep(0.05)
        return address


atexit.register(lambda: stop_all())


def start() -> Live:
    """Watch the speed layer; a capture, a mirror or an orders API that does not run is run for this notebook.

    Raises SettingsError or ServiceError when PostgreSQL, Kafka or ClickHouse is not there.
    """
    from streaming.capture.run import Capture
    from streaming.mirror.consumer import Mirror

    for service in ("postgres", "kafka", "clickhouse"):
        settings().url_of(service)
    live = Live()
    _STARTED.append(live)
    with connect(autocommit=True) as connection:
        state = slot(connection)
    live.runs["capture"] = live.runs["mirror"] = "already"
    if state is None or not state.active:
        live._run("capture", Capture())
    if not _has_mirror():
        live._run("mirror", Mirror())
    wait_until_caught_up(_PATIENCE)
    _wait_for_views(live)
    live.api = live._serve_orders()
    live._listen()
    return live


def stop_all() -> None:
    """End whatever was begun in this process."""
    while _STARTED:
        _STARTED.pop().stop()


def _wait_for_views(live: Live) -> None:
    """Wait until the mirror has made the unified views."""
    deadline = time.monotonic() + _PATIENCE
    while live.client.query("exists table serving.total_sales").result_rows != [(1,)]:
        if time.monotonic() > deadline:
            raise ServiceError("the unified views are not there: see `rainbow stream status`")
        time.sleep(0.1)


def _has_mirror() -> bool:
    """Whether a mirror is a member of the group."""
    from streaming.clients import administrator

    admin = administrator()
    try:
        (described,) = admin.describe_consumer_groups([topics.GROUP], request_timeout=10).values()
        return bool(described.result().members)
    except Exception:  # a group that was never there
        return False


def _bodies(orders: int) -> list[dict[str, Any]]:
    """Orders of customers, payment methods and products that are there, and in stock."""
    with connect(autocommit=True) as connection:
        found = connection.execute(
            """select c.id, m.id, p.id
               from (select id, row_number() over (order by id) as n from customers) c
               join (select id, row_number() over (order by id) as n from payments) m on m.n = 1 + (c.n - 1) %% (select count(*) from payments)
               join (select product_id as id, row_number() over (order by product_id) as n from inventories where quantity > 0) p
                 on p.n = 1 + (c.n - 1) %% (select count(*) from inventories where quantity > 0)
               order by c.id limit %s""",
            [orders],
        ).fetchall()
    if not found:
        raise ServiceError("the shop has no customers or nothing in stock: `rainbow seed` fills it")
    chosen = [found[n % len(found)] for n in range(orders)]
    return [{"customerId": c, "payment_id": m, "products": [{"productId": p, "quantity": 1}]} for c, m, p in chosen]


def _told(message: Any) -> dict[str, Any]:
    content = orjson.loads(message.value())
    content = content.get("payload", content)
    before, after, source = content.get("before") or {}, content.get("after") or {}, content["source"]
    changed = sorted(name for name in after if name in before and before[name] != after[name])
    return {
        "at, UTC": datetime.fromtimestamp(source["ts_ms"] / 1000, UTC).strftime("%H:%M:%S.%f")[:-3],
        "table": topics.table_of(message.topic()),
        "what": _OPERATIONS.get(content["op"], content["op"]),
        "key": (message.key() or b"").decode(),
        "position": source["lsn"],
        "changed": ", ".join(changed),
    }


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/ping", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _authorization() -> dict[str, str]:
    token = settings().api_token
    return {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}


def _today() -> date:
    return datetime.now(UTC).date()
