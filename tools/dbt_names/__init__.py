"""What dbt gives a model's template and sqlfluff does not know of: the project's variables, and some model's columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_PROJECT = yaml.safe_load((Path(__file__).resolve().parents[2] / "dbt" / "dbt_project.yml").read_text(encoding="utf-8"))

model = {"columns": {name: {"name": name} for name in ("sales_date", "customer_id", "customer", "total_sales_amount")}}


def var(name: str, default: Any = None) -> Any:
    """A variable of ``dbt_project.yml``."""
    return _PROJECT["vars"].get(name, default)
