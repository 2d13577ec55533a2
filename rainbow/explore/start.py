"""What the start page shows: the services, the last complete partition, and what needs attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rainbow import stack
from rainbow.charts import formats, serving
from rainbow.charts.elements import Column, Fragment, answer, empty, table
from rainbow.errors import RainbowError
from rainbow.partitions.attention import Trouble
from rainbow.partitions.catalogue import Catalogue, gather
from rainbow.settings import read_settings, settings
from rainbow.stack.control import SERVICES, elsewhere

# the services that the batch layer and its charts cannot do without, and those that the speed layer adds
_NEEDED = ("postgres", "bigquery", "clickhouse")
_STREAM = ("kafka", "capture", "mirror")


@dataclass(frozen=True)
class Start:
    """The services by name, the catalogue, and the last complete partition (None: nothing was published)."""

    services: Mapping[str, Mapping[str, Any]]
    catalogue: Catalogue
    newest: str | None

    def answer(self) -> Fragment:
        """Where the workbench stands."""
        down = [name for name in _NEEDED if self.services[name]["state"] != "up"]
        if down:
            return answer("{} down: `rainbow up` starts what is local.", about={}, parts=[f"{', '.join(down)} {'is' if len(down) == 1 else 'are'}"])  # fmt: skip
        if self.newest is None:
            return answer(
                "{} is published yet: `rainbow demo` lives through a shop, `rainbow run DAY` runs a day.", about={}, parts=["Nothing"]
            )
        text = "The services are up, and the figures are complete to {}."
        return answer(f"{text}{self._speed_layer()}", about={}, parts=[self.newest])

    def state(self) -> Fragment:
        """Each service's state."""
        rows = [{"service": name, "state": self._state(name)} for name in self.services]
        return table(rows, [Column("service", "Service"), Column("state", "State")], caption="Services", currency="")

    def _speed_layer(self) -> str:
        """What the speed layer adds to that, or lacks; nothing of one that nobody started."""
        if not any(map(self._is_there, _STREAM)):
            return ""
        lacking = [name for name in _STREAM if name in self.services and self.services[name]["state"] != "up"]
        if lacking:
            return f" The speed layer lacks {', '.join(lacking)}: `rainbow up --stream` starts what is local."
        return " What the shop has sold since comes from the speed layer, within a second."

    def _is_there(self, name: str) -> bool:
        """Whether a service of the speed layer was started, or is named by a setting."""
        return name in self.services and (self.services[name]["state"] != "down" or self.services[name]["url"] is not None)

    def _state(self, name: str) -> str:
        if name in _STREAM and not any(map(self._is_there, _STREAM)):
            return "not started (the speed layer: `rainbow up --stream`)"
        return str(self.services[name]["state"])

    def attention(self) -> Fragment:
        """What is not done and why."""
        if not self.catalogue.troubles:
            return empty("Nothing needs attention: every partition is done.")
        columns = [Column("state", "State"), Column("days", "Partitions"), Column("reason", "Why"), Column("assets", "Assets", "number")]
        return table([_told(one) for one in self.catalogue.troubles[:8]], columns, caption="What needs attention", currency="")

    def reports(self) -> Fragment:
        """Where the rendered pages are."""
        index = settings().reports_dir / "index.html"
        return empty(f"All reports: {index}" if index.exists() else "No report yet.")


def start() -> Start:
    """Where the workbench stands now; a service that does not answer is part of the answer."""
    try:
        newest = formats.long_date(serving.scope("total_sales", None).partition_date) if serving.watermarks() else None
    except (RainbowError, OSError):
        newest = None
    return Start(_services(), gather(), newest)


def _services() -> dict[str, dict[str, Any]]:
    """The state of each service, but for those that run elsewhere and cannot be asked."""
    named = read_settings(with_stack=False)
    return {name: found for name, found in stack.status().items() if elsewhere(named, SERVICES[name]) != ""}


def _told(trouble: Trouble) -> dict[str, Any]:
    days: Sequence[Any] = trouble.days
    span = formats.short_date(days[0]) + ("" if len(days) == 1 else f" to {formats.short_date(days[-1])}")
    return {"state": trouble.state, "days": span, "reason": trouble.reason, "assets": len(trouble.assets)}
