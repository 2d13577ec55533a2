"""The local stack: PostgreSQL, the BigQuery stand-in and ClickHouse as processes of this machine, from pip packages alone.

This is the only place that knows a service is local. `up` starts the services that no setting names and writes their URLs
to ``settings().stack_env``; everything else reads a URL from the settings. A service is one module with a ``SERVICE`` in
it; to add one, list it in `rainbow.stack.control.SERVICES`.
"""

from rainbow.stack.control import down, status, up

__all__ = ["down", "status", "up"]
