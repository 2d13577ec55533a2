"""The unified views: ClickHouse's database ``serving``, each day from the batch or from the mirror.

A view is an SQL file of its name here, in the form that fits what there is: ``batch`` when there is no complete mirror, ``mirror``
when nothing is published yet or what is published cannot be told apart from what the mirror has, ``unified`` when there are both.

The watermark of the published table stands in the view's text, so a reader pairs it with that table's rows or with newer ones, and
never the other way: a day that nothing beyond the watermark has touched is the same in newer rows. Which days were touched is asked when
the view is read, of ``mirror._days``; see ``touched.sql.jinja``. What several places of a view ask for is a view of its own, whose name
begins with ``_``; those are made first, so that a view is paired with them or with newer ones, too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import orjson

from rainbow.olap.mirror import members, placements
from rainbow.olap.published import DIMENSIONS, VIEWS
from rainbow.olap.serving.forms import Began, Form, There, day_view, forms_of, has_dimensions, look, mirror_began, settings_by_day
from rainbow.olap.serving.mark import Mark

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

FOLDER = Path(__file__).parent

# the views whose rows say what a product was at the sale
_PLACED = ("top_sellers", "top_products_by_category")

# the members that the batch may not know, by view: the mirror's table of them, the batch's, and the column
_MEMBERS = {
    **dict.fromkeys(_PLACED, ("products", "dim_products", "product_id")),
    "payment_methods": ("payments", "dim_payments", "payment_id"),
    "customer_ranking": ("customers", "dim_customers", "customer_id"),
}

# the names in the rows of a view: the mirror's table of what is named, its id and the name's column
_NAMES = {
    "top_sellers": (("sellers", "seller_id", "seller"),),
    "top_products_by_category": (("categories", "category_id", "category"), ("products", "product_id", "product")),
    "payment_methods": (("payments", "payment_id", "payment_method"),),
    "customer_ranking": (("customers", "customer_id", "customer"),),
}

# the members in the batch's dimensions: the mirror's table of them, the batch's, and there the columns of the id and the name
_DIMENSIONS = (
    ("products", "dim_products", "product_id", "name"),
    ("categories", "dim_products", "category_id", "category"),
    ("customers", "dim_customers", "customer_id", "name"),
    ("sellers", "dim_sellers", "seller_id", "name"),
    ("payments", "dim_payments", "payment_id", "name"),
)


@dataclass(frozen=True)
class Kept:
    """What of `_keep_members`'s tables a view's text has to ask for, since most are empty mostly: which of them have rows, and the members'
    tables of which the batch knows some that the mirror does not."""

    filled: frozenset[str] = frozenset()
    departed: frozenset[str] = frozenset()


def serve(clickhouse: Client) -> dict[str, Form]:
    """Make the views that charts read, where they are not there in the form that fits; returns each view's form.

    Called whenever something was published, and by the mirror. A view is replaced in one step, so a reader finds the old one or the new
    one. A view that could show nothing, for lack of a batch and of a complete mirror, is dropped. Two calls at a time do no harm: one that
    changed something looks whether what it went by still stands, and whether what it made does.
    """
    there = look(clickhouse)
    if not there["serving"]:
        clickhouse.command("create database if not exists serving")
    while True:
        began = mirror_began(clickhouse, there)
        forms = forms_of(there, began)
        made = _make(clickhouse, there, began, forms)
        if made.items() <= there["serving"].items() and not _superfluous(there, forms):
            return {view: form for view, (form, _) in forms.items()}
        for name in _superfluous(there, forms):
            clickhouse.command(f"drop view if exists serving.{name} sync")
        there = look(clickhouse)


def _superfluous(there: There, forms: dict[str, tuple[Form, Mark | None]]) -> set[str]:
    """Views that could show nothing."""
    return set(VIEWS) & there["serving"].keys() - forms.keys()


def _make(clickhouse: Client, there: There, began: Began | None, forms: dict[str, tuple[Form, Mark | None]]) -> dict[str, str]:
    """Make what is not there as it should be; the comment of each view and table."""
    made: dict[str, str] = {}
    kept = Kept()
    if began and has_dimensions(there["batch"]):
        placements.take_published(clickhouse, there["mirror"]["_placements"], there["batch"]["dim_products"])
        kept, made = _keep_members(clickhouse, there, began, forms)
    texts = _parts(forms, kept)
    by_day = settings_by_day(there)
    texts |= {view: statement(view, form, mark, departed=kept.departed, by_day=by_day) for view, (form, mark) in forms.items()}
    # the dimensions are as published: the mirror has no versions of its own from before it began
    texts |= {name: f"select * from batch.{name}" for name in DIMENSIONS if name in there["batch"]}
    texts["watermark"] = (FOLDER / "watermark.sql").read_text()
    for name, text in texts.items():
        version = made[name] = hashlib.sha256((text + there["batch columns"].get(name, "")).encode()).hexdigest()[:16]
        if there["serving"].get(name) != version:
            clickhouse.command(f"create or replace view serving.{name} as {text} comment '{version}'")
    return made


def statement(view: str, form: Form, mark: Mark | None = None, *, departed: frozenset[str] = frozenset(), by_day: str = "") -> str:
    """The SELECT of a view in one of its forms; ``departed``: see ``Kept``; ``by_day``: see ``forms.settings_by_day``.

    The mirror's form begins at the mark's first day, if there is one.
    """
    if form == "batch":
        return f"select * from batch.{view}"
    begins_at = mark.begins_at if mark else None
    return _render(f"{view}.sql.jinja", mark=mark if form == "unified" else None, begins_at=begins_at, departed=departed, by_day=by_day)


def _parts(forms: dict[str, tuple[Form, Mark | None]], kept: Kept) -> dict[str, str]:
    """What views in these forms ask for in several places, as views; those that others ask come first."""
    if all(form == "batch" for form, _ in forms.values()):
        return {}
    parts = {"_placed": placements.PLACED}
    for view, (form, mark) in forms.items():
        if form == "unified" and day_view(view) == view:
            table, _, id_ = _MEMBERS.get(view, ("", "", ""))
            parts[f"_touched_{view}"] = _render(
                "touched.sql.jinja",
                mark=mark,
                of=view,
                placed=view in _PLACED,
                table=table,
                id=id_,
                has_unknown=f"_unknown_{view}" in kept.filled,
                has_restated=f"_restated_{view}" in kept.filled,
            )
    return parts


@lru_cache(maxsize=64)
def _render(template: str, **values: Any) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER), undefined=jinja2.StrictUndefined, autoescape=False)
    return environment.get_template(template).render(values, earliest=placements.EARLIEST, latest=placements.LATEST).strip()


def _keep_members(
    clickhouse: Client, there: There, began: Began, forms: dict[str, tuple[Form, Mark | None]]
) -> tuple[Kept, dict[str, str]]:
    """What a publish, or a new snapshot of the mirror, says of members for good, as tables, so that no read has to work it out; and the
    tables' comments."""
    of_dimensions = "".join(there["batch"][dimension] for dimension in DIMENSIONS)
    tables = {"_departed": ("(table, id)", _render("departed.sql.jinja", members=_DIMENSIONS), of_dimensions)}
    for view, (form, mark) in forms.items():
        if form == "unified" and view in _MEMBERS:
            table, dimension, id_ = _MEMBERS[view]
            about = there["batch"][view]
            of_both = about + of_dimensions
            _, column, _ = _NAMES[view][-1]
            tables[f"_unknown_{view}"] = "day", _render("unknown.sql.jinja", of=view, column=column), about
            unpublished = _render("unpublished.sql.jinja", mark=mark, table=table, dimension=dimension, id=id_)
            tables[f"_unpublished_{view}"] = "id", unpublished, of_both
            if view in _PLACED:
                agree = orjson.loads(about).get("data_version") == orjson.loads(there["batch"][dimension]).get("data_version")
                versions = placements.versions("{} in (select product_id from mirror._moves)".format, published=True)
                restated = _render("restated.sql.jinja", mark=mark, versions=versions, agree=agree)
                tables[f"_restated_{view}"] = "product_id", restated, of_both
    made: dict[str, str] = {}
    for name, (order, text, about) in tables.items():
        version = made[name] = hashlib.sha256(f"{text} {about} {began}".encode()).hexdigest()[:16]
        if there["serving"].get(name) != version:
            for table, id_, column in _NAMES.get(name.removeprefix("_unpublished_"), ()):
                published = f"select {id_} as id, any({column}) as name from batch.{name.removeprefix('_unpublished_')} group by id"
                members.take_names(clickhouse, table, published)
            clickhouse.command(f"create or replace table serving.{name} engine = MergeTree order by {order} comment '{version}' as {text}")
    filled = clickhouse.query(f"select name from system.tables where database = 'serving' and name in {tuple(tables)} and total_rows > 0")
    departed = clickhouse.query("select distinct table from serving._departed")
    return Kept(*(frozenset(name for (name,) in found.result_rows) for found in (filled, departed))), made
