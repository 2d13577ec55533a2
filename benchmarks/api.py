"""What an order costs over the API, beside the same transaction by pgbench on the same PostgreSQL, in the same run.

    python benchmarks/api.py [--seconds 8] [--workers 1 2] [--connections 16 64]

A PostgreSQL of its own, on the loopback, in a temporary folder: 10,000 products, orders of 4 lines, each with an Idempotency-Key. The
load comes from a process of its own that keeps every connection busy with one request; it reads no more of an answer than its status
and its length, and its CPU seconds are said, as are those of the API and of PostgreSQL: on a small machine they all share the cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PRODUCTS, CUSTOMERS, PAYMENTS, LINES = 10_000, 1_000, 4, 4

# each line's product from a part of its own, so that ids are distinct and sorted, for pgbench as for the API
PART = PRODUCTS // LINES

SETTINGS = "\n".join(
    [
        f"\\set customer random(1, {CUSTOMERS})",
        f"\\set payment random(1, {PAYMENTS})",
        *(f"\\set p{n} random({n * PART + 1}, {(n + 1) * PART})" for n in range(LINES)),
        *(f"\\set q{n} random(1, 3)" for n in range(LINES)),
        "\\set key random(1, 1000000000000)",
    ]
)
IDS = ", ".join(f":p{n}" for n in range(LINES))
PIECES = ", ".join(f"(:p{n}::bigint, :q{n}::int)" for n in range(LINES))
LOCK = f"""
select p.id, p.name, p.price, m.id, m.coupon_type, m.price_treatment, i.id, i.quantity,
    exists (select from customers c where c.id = :customer), exists (select from payments y where y.id = :payment)
from products p join inventories i on i.product_id = p.id left join promotions m on m.id = p.promotion_id
where p.id in ({IDS}) order by p.id, i.id for no key update of p, i"""
STATEMENTS = f"""
insert into orders (customer_id, payment_id, created_at, updated_at) values (:customer, :payment, now(), now()) returning id \\gset
insert into orderdetails (order_id, product_id, promotion_id, quantity, price, amount, discount, created_at, updated_at)
    select :id, p.id, p.promotion_id, l.quantity, p.price, round(p.price * l.quantity, 2), 0, now(), now()
    from (values {PIECES}) as l (id, quantity) join products p using (id);
update products p set sold_count = sold_count + l.quantity, updated_at = now() from (values {PIECES}) as l (id, quantity) where p.id = l.id;
update inventories i set quantity = i.quantity - l.quantity, updated_at = now() from (values {PIECES}) as l (id, quantity)
    where i.product_id = l.id;
insert into idempotency_keys (key, fingerprint, answer, created_at)
    values (:client_id || '-' || :key, repeat('f', 64), repeat('a', 640), now()) on conflict do nothing;
"""
ONE_BY_ONE = f"{SETTINGS}\nbegin;\n{LOCK};\n{STATEMENTS}\ncommit;\n"
GET = (
    "\\set order random(1, 1000)\nselect * from orders o left join orderdetails l on l.order_id = o.id where o.id = :order order by l.id;\n"
)

BODY_ENDS = b"\r\n\r\n"


def own_statements() -> str:
    """The very statements of the API, one by one: begin, lock, open, write, commit."""
    from api import repositories

    def filled(text: bytes, values: list[str]) -> str:
        written = text.decode()
        for place in range(len(values), 0, -1):
            written = written.replace(f"${place}", values[place - 1])
        return " ".join(written.split())

    ids = f"array[{IDS}]"
    lock = filled(repositories._LOCK.text, [ids, ":customer", ":payment"])
    opened = filled(repositories._OPEN.text, ["4", ":client_id || '-' || :key"]).replace("select now(), nextval", "select nextval", 1)
    opened = opened.replace("as one", "as one (x)").replace("'id')), array(", "'id')) as order_id, array(", 1)
    opened = opened.replace(", k.fingerprint, k.answer", "::text as line_ids", 1)
    each = [f"array[{', '.join([value] * 4)}]" for value in ("1.5000", "3.00", "0.00")]
    quantities = "array[" + ", ".join(f":q{n}" for n in range(LINES)) + "]"
    write = filled(
        repositories._ADD.text,
        [
            ":order_id",
            ":customer",
            ":payment",
            ":line_ids",
            ids,
            "array[null, null, null, null]",
            quantities,
            *each,
            ids,
            quantities,
            ":client_id || '-' || :key",
            "repeat('f', 64)",
            "repeat('a', 640)",
        ],
    )
    return f"{SETTINGS}\nbegin;\n{lock};\n{opened} \\gset\n{write} on conflict do nothing;\ncommit;\n"


def make_shop(url: str) -> None:
    """A shop of random products that never run out."""
    import psycopg

    from rainbow.source.schema import create_schema, set_sequences

    with psycopg.connect(url) as connection:
        create_schema(connection)
        for table, rows in {"categories": 20, "sellers": 50, "customers": CUSTOMERS, "payments": PAYMENTS}.items():
            connection.execute(f"insert into {table} select n, '{table} ' || n, now(), now() from generate_series(1, {rows}) n")
        connection.execute("insert into promotions select n, 'p' || n, 'Percentage', n, now(), now() from generate_series(1, 20) n")
        connection.execute(
            "insert into products select n, 'Product ' || n, 1 + n % 100 + 0.5, null, null, null, 0, 1 + n % 20, 1 + n % 50, null,"
            f" case when n % 3 = 0 then 1 + n % 20 end, now(), now() from generate_series(1, {PRODUCTS}) n"
        )
        connection.execute(f"insert into inventories select n, n, 1000000000, now(), now() from generate_series(1, {PRODUCTS}) n")
        set_sequences(connection)
        connection.execute("analyze")


def pgbench(program: Path, url: str, script: Path, clients: int, seconds: float) -> dict[str, float]:
    """Transactions a second, p50 and p99 in milliseconds, pgbench's own CPU a transaction."""
    parts = urlsplit(url)
    log = script.parent / "log"
    command = [program, "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(round(seconds)), "-f", script, "-l"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*command, f"--log-prefix={log}", "-h", parts.hostname or "", "-p", str(parts.port), "-U", parts.username or "", parts.path[1:]],
        env={**os.environ, "PGPASSWORD": parts.password or "", "PGOPTIONS": "-c plan_cache_mode=force_generic_plan"},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr)
    took = sorted(int(line.split()[2]) for file in script.parent.glob("log.*") for line in file.read_text().splitlines())
    for file in script.parent.glob("log.*"):
        file.unlink()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return figures(len(took) / seconds, [t / 1000 for t in took], cpu / len(took))


def figures(rate: float, took: list[float], cpu: float) -> dict[str, float]:
    """What is said of a measurement; ``took`` is sorted."""
    return {
        "a second": round(rate),
        "p50 ms": round(took[len(took) // 2], 1),
        "p99 ms": round(took[int(len(took) * 0.99)], 1),
        "driver CPU us": round(cpu * 1e6),
    }


class Caller(asyncio.Protocol):
    """A connection that sends a request as soon as the one before is answered."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.load.request())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.got = self.got + data if self.got else data
        head = self.got.find(BODY_ENDS)
        if head < 0:
            return
        at = self.got.lower().find(b"content-length: ", 0, head) + 16
        length = int(self.got[at : self.got.find(b"\r", at)])
        if len(self.got) < head + 4 + length:
            return
        self.load.answered(self.got[9:12], time.perf_counter() - self.began)
        self.got = b""
        if self.load.goes_on():
            self.send()
        else:
            self.transport.close()
            self.load.left -= 1

    def connection_lost(self, error: Exception | None) -> None:
        if error:
            raise SystemExit(f"a connection was lost: {error}")


class Load:
    """Requests of one kind, over some connections, for some seconds; the first second is not counted."""

    def __init__(self, kind: str, connections: int, seconds: float, orders: int) -> None:
        self.kind, self.connections, self.seconds, self.orders = kind, connections, seconds, orders
        self.took: list[float] = []
        self.statuses: dict[bytes, int] = {}
        self.keys = itertools.count()
        self.run_id = f"{os.getpid()}-{time.time_ns()}"
        self.left = connections

    def request(self) -> bytes:
        if self.kind == "GET":
            return f"GET /api/v1/orders/{random.randint(1, self.orders)} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        products = ",".join(
            f'{{"productId":{random.randint(n * PART + 1, (n + 1) * PART)},"quantity":{random.randint(1, 3)}}}' for n in range(LINES)
        )
        body = f'{{"customerId":{random.randint(1, CUSTOMERS)},"payment_id":{random.randint(1, PAYMENTS)},"products":[{products}]}}'
        return (
            "POST /api/v1/orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: {self.run_id}-{next(self.keys)}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def answered(self, status: bytes, seconds: float) -> None:
        if time.perf_counter() > self.counted_from:
            self.took.append(seconds)
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def goes_on(self) -> bool:
        return time.perf_counter() < self.until

    async def run(self, port: int) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        self.counted_from, self.until = began + 1, began + 1 + self.seconds
        for _ in range(self.connections):
            await loop.create_connection(lambda: Caller(self), "127.0.0.1", port)
        await asyncio.sleep(1)
        before = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.sleep(self.seconds)
        after = resource.getrusage(resource.RUSAGE_SELF)
        while self.left:
            await asyncio.sleep(0.01)
        self.took.sort()
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        milliseconds = [t * 1000 for t in self.took]
        return figures(len(self.took) / self.seconds, milliseconds, cpu / len(self.took)) | {
            "statuses": {status.decode(): n for status, n in self.statuses.items()}
        }


def cpu_of(processes: list[Any]) -> float:
    """CPU seconds of processes and all that they started."""
    import psutil

    total = 0.0
    for process in processes:
        for one in [process, *process.children(recursive=True)]:
            try:
                times = one.cpu_times()
                total += times.user + times.system
            except psutil.Error:
                continue
    return total


def load(kind: str, port: int, connections: int, seconds: float, orders: int, watched: dict[str, list[Any]]) -> dict[str, Any]:
    """A load from a process of its own, with the CPU that each side took for a request."""
    words = [sys.executable, __file__, "--load", kind, str(port), str(connections), str(seconds), str(orders)]
    driver = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    time.sleep(1.5)
    before = {name: cpu_of(processes) for name, processes in watched.items()}
    time.sleep(seconds - 1)
    used = {name: cpu_of(processes) - before[name] for name, processes in watched.items()}
    answer, _ = driver.communicate(timeout=60)
    measured: dict[str, Any] = json.loads(answer)
    calls = measured["a second"] * (seconds - 1)
    return measured | {f"{name} CPU us": round(cpu / calls * 1e6) for name, cpu in used.items()}


def serve(port: int, workers: int, folder: Path) -> subprocess.Popen[bytes]:
    """The API, as people start it."""
    command = [sys.executable, "-c", "from rainbow.cli import main; main()", "api", "--port", str(port), "--workers", str(workers)]
    return subprocess.Popen(command, stdout=(folder / "api.log").open("wb"), stderr=subprocess.STDOUT)


def wait_for(port: int, patience: float = 30) -> None:
    """Wait until the API's database can be reached."""
    from urllib.error import URLError
    from urllib.request import urlopen

    deadline = time.monotonic() + patience
    while True:
        try:
            urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).close()
            return
        except (URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--load", nargs=5, metavar="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        import uvloop

        kind, port, connections, seconds, orders = arguments.load
        print(json.dumps(uvloop.run(Load(kind, int(connections), float(seconds), int(orders)).run(int(port)))))
        return
    home = Path(tempfile.mkdtemp(prefix="rainbow-benchmark-"))
    for name in [name for name in os.environ if name.startswith("RAINBOW_")]:
        del os.environ[name]
    os.environ["RAINBOW_HOME"] = str(home)
    try:
        print(json.dumps(measure(home, arguments), indent=1))
    finally:
        from rainbow import stack

        stack.down()
        shutil.rmtree(home, ignore_errors=True)


def measure(home: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All measurements, by name."""
    import psutil

    from rainbow import stack
    from rainbow.settings import settings
    from rainbow.stack import ports, postgres
    from rainbow.stack.place import place_of

    stack.up(["postgres"])
    url = settings().url_of("postgres")
    make_shop(url)
    program = postgres._programs(place_of(home, "postgres")) / "pgbench"
    postmaster = psutil.Process(json.loads((home / "stack" / "postgres" / "process").read_text())["pid"])
    scripts = {"pgbench, a statement a step": ONE_BY_ONE, "pgbench, the API's statements": own_statements()}
    measured: dict[str, Any] = {}

    def say(name: str, value: dict[str, Any]) -> None:
        measured[name] = value
        print(f"{name:<50}", value, file=sys.stderr, flush=True)

    script = home / "script.sql"
    for connections in arguments.connections:
        for name, text in scripts.items():
            script.write_text(text)
            say(f"POST {name}, {connections}", pgbench(program, url, script, connections, arguments.seconds))
        for workers in arguments.workers:
            port = ports.choose("benchmark", 0, None)
            api = serve(port, workers, home)
            try:
                wait_for(port)
                watched = {"API": [psutil.Process(api.pid)], "PostgreSQL": [postmaster]}
                for kind in ("POST", "GET"):
                    say(
                        f"{kind} API, {workers} {'worker' if workers == 1 else 'workers'}, {connections}",
                        load(kind, port, connections, arguments.seconds, 1000, watched),
                    )
            finally:
                api.send_signal(signal.SIGTERM)
                api.wait(20)
        script.write_text(GET)
        say(f"GET pgbench, {connections}", pgbench(program, url, script, connections, arguments.seconds))
    return measured


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
