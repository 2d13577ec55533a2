"""The ClickHouse process: ``python -m rainbow.stack.gateway --port P --data D --password-file F``."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

import uvicorn

from rainbow.stack.gateway.app import Gateway
from rainbow.stack.gateway.engine import Engine
from rainbow.stack.ports import HOST

USER = "default"


def main() -> None:
    """Serve until SIGTERM or SIGINT; requests at work get five seconds to end."""
    parser = argparse.ArgumentParser(description="The ClickHouse server of the local stack.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    arguments = parser.parse_args()
    os.umask(0o077)
    engine = Engine(arguments.data)
    gateway = Gateway(engine, USER, arguments.password_file.read_text().strip())
    config = uvicorn.Config(
        gateway,
        host=HOST,
        port=arguments.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
    )
    # uvicorn raises the signal again when it has stopped; the engine is to be closed after that
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    print(f"ClickHouse {engine.version} listens at {HOST}:{arguments.port}", flush=True)
    uvicorn.Server(config).run()
    engine.close()


if __name__ == "__main__":
    main()
