"""Noting in the ledger what a step has made: for its own partitions, and for others that it brought up to date on its way.

A data version is a hash of the code and of the data versions that went in, or, where a step knows it, of the content itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from rainbow.partitions.assets import Asset, assets, made_by
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.records import Made
from rainbow.partitions.state import CumulativeVersion, Key


def settle(
    run: str,
    step: str,
    own: PartitionRange | None,
    *,
    also: Iterable[date] = (),
    whole: bool = False,
    content: Mapping[Key, str] | None = None,
    details: Mapping[str, Mapping[str, Any]] | None = None,
    seconds: float | None = None,
) -> None:
    """Note that a step has made its assets for its ``own`` partitions, and for those of ``also``, and for those that were behind
    what they are made from. A step that leaves no partition as other code had made it does its ``whole`` assets.

    ``content`` gives data versions by asset and partition; ``details`` what is known of an asset's work in this run (rows, bytes
    and more), which goes to the last of its own partitions.
    """
    ledger = Ledger()
    listed = made_by(step)
    sources = {up for one in listed for up in one.upstream}
    days = {*(own or ()), *also}
    if sources:
        days |= set(ledger.behind([one.name for one in listed], sources))
    if whole:
        days |= set(ledger.made_by_other_code({one.name: one.code_version for one in listed}))
    if not days:
        return
    ordered = sorted(days)
    span = PartitionRange(ordered[0], ordered[-1])
    known = ledger.newest(span, {*sources, *(one.name for one in listed)})
    versions = {key: newest.data_version for key, newest in known.items()}
    made = []
    for day in ordered:
        for one in listed:
            if not one.upstream and (one.name, day) not in (content or {}):
                continue
            inputs = {up: versions[up, day] for up in one.upstream if (up, day) in versions}
            version = (content or {}).get((one.name, day)) or _version(one, inputs)
            if day not in (own or ()) and not _differs(known.get((one.name, day)), one, inputs, version):
                continue
            noted = Made(one.name, day, one.code_version, version, inputs)
            if own and day == own.last:
                noted = _with_details(noted, seconds, (details or {}).get(one.name, {}))
            versions[one.name, day] = version
            made.append(noted)
    ledger.record(run, made)


def settle_report(run: str, asset: str, partitions: PartitionRange, **details: Any) -> None:
    """Note that an asset which shows every day up to its own was made for these partitions."""
    ledger = Ledger()
    one = assets()[asset]
    history = {up: CumulativeVersion() for up in one.upstream}
    made: list[Made] = []
    known = sorted(ledger.newest(PartitionRange(date.min, partitions.last), one.upstream).items(), key=lambda item: item[0][1])
    position = 0
    for day in partitions:
        while position < len(known) and known[position][0][1] <= day:
            (up, moment), newest = known[position]
            history[up].add(moment, newest.data_version)
            position += 1
        inputs = {up: history[up].version for up in one.upstream}
        made.append(Made(asset, day, one.code_version, _version(one, inputs), inputs, metadata=details))
    ledger.record(run, made)


def _with_details(made: Made, seconds: float | None, details: Mapping[str, Any]) -> Made:
    more = {name: value for name, value in details.items() if name not in ("rows", "bytes", "seconds")}
    return replace(made, rows=details.get("rows"), bytes=details.get("bytes"), seconds=details.get("seconds", seconds), metadata=more)


def _differs(newest: Any, asset: Asset, inputs: Mapping[str, str], version: str) -> bool:
    return newest is None or (newest.code_version, dict(newest.inputs), newest.data_version) != (asset.code_version, dict(inputs), version)


def _version(asset: Asset, inputs: Mapping[str, str]) -> str:
    text = ";".join([asset.code_version, *(f"{name}={version}" for name, version in inputs.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
