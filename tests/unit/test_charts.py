"""rainbow/charts without a database: how numbers read, and that what comes from the data is text wherever it stands."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st

from rainbow.charts import DayOfWeek, Ranking, TopProducts, TotalSales, formats, shapes, theme
from rainbow.charts.elements import FRAGMENT_MIME, VEGALITE_MIME, Chart, Column, Row, table
from rainbow.charts.serving import Scope

DAY = date(2024, 9, 6)
SCRIPT = "<script>alert(1)</script>"
SCOPE = Scope("any", DAY, date(2024, 8, 1), DAY, None, "VND")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (Decimal("30412345678901.23"), "30.4T"),
        (8_930_000_000_000, "8.93T"),
        (904_000_000_000, "904B"),
        (4_430_000, "4.43M"),
        (999_949, "1.00M"),
        (999_499, "999K"),
        (1234, "1.23K"),
        (Decimal("999.999"), "1.00K"),
        (Decimal("12.5"), "12.50"),
        (7, "7"),
        (0, "0"),
        (-1_500_000, "−1.50M"),
        (10**15, "1,000T"),
        (None, "–"),
    ],
)
def test_large_numbers_read_with_three_digits_and_a_unit(value: Any, read: str) -> None:
    assert formats.compact(value) == read


def test_the_labels_of_a_chart_have_their_cents_alike() -> None:
    assert [formats.compact(Decimal(value), decimals=2) for value in ("370.00", "497.99", "2266.10")] == ["370.00", "497.99", "2.27K"]
    assert formats.compact(Decimal("370.00"), decimals=formats.minor_digits("VND")) == "370"


@pytest.mark.parametrize(
    ("value", "currency", "read"),
    [("8930123456789.0000", "VND", "8,930,123,456,789"), ("1234.5", "USD", "1,234.50"), ("-0.125", "USD", "−0.125"), ("5", "KWD", "5.000")],
)
def test_amounts_keep_every_digit_and_the_cents_of_their_currency(value: str, currency: str, read: str) -> None:
    assert formats.amount(Decimal(value), currency) == read


@given(st.lists(st.integers(min_value=0, max_value=10**15), min_size=1, max_size=12).filter(any))
def test_rounded_shares_add_up_to_one_hundred(values: list[int]) -> None:
    shares = [share for share in formats.shares(values) if share is not None]
    assert sum(shares) == 100
    assert all(abs(share - Decimal(value) * 100 / sum(values)) < Decimal("0.002") for share, value in zip(shares, values, strict=True))


def test_nothing_has_no_shares() -> None:
    assert formats.shares([0, 0]) == [None, None]
    assert formats.shares([]) == []


@pytest.mark.parametrize(
    ("now", "before", "text", "direction"),
    [
        (110, 100, "+10.0\xa0%", "up"),
        (50, 100, "−50.0\xa0%", "down"),
        (0, 100, "−100\xa0%", "down"),
        (5, 5, "0.0\xa0%", "same"),
        (5, 0, "–", "unknown"),
    ],
)
def test_a_change_is_told_against_what_was_before(now: int, before: int, text: str, direction: str) -> None:
    assert formats.change(now, before) == formats.Change(text, direction)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Nguyễn Thị\u202e Hồng", "Nguyễn Thị Hồng"),
        ("a\n\tb\x00", "a b"),
        ("Nguye\u0302\u0303n", "Nguyễn"),
        ("", "(no name)"),
        (None, "(no name)"),
        ("=1+1", "=1+1"),
    ],
)
def test_a_name_is_one_line_of_text_that_turns_nothing_around(name: str | None, text: str) -> None:
    assert formats.plain(name) == text


def test_a_table_escapes_what_comes_from_the_data() -> None:
    html = table([{"name": SCRIPT + '"'}], [Column("name", SCRIPT)], caption=SCRIPT, currency="USD").html
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 5  # caption, its label, heading, cell, its title
    assert 'title="&lt;script&gt;alert(1)&lt;/script&gt;&quot;"' in html


@pytest.mark.parametrize(
    "dashboard",
    [
        TotalSales(SCOPE, []),
        DayOfWeek(SCOPE, []),
        Ranking(SCOPE, [], "seller", "sellers", "total_sales_amount", "{}{}{}"),
        TopProducts(SCOPE, []),
    ],
    ids=lambda dashboard: type(dashboard).__name__,
)
def test_a_dashboard_without_rows_says_so_in_each_part(dashboard: Any) -> None:
    drawn = dashboard.trend() if isinstance(dashboard, TotalSales) else dashboard.bars()
    for part in (dashboard.answer(), drawn, dashboard.table()):
        assert part.text.startswith("No ")


def test_a_day_before_the_watermark_is_final_and_one_after_it_provisional() -> None:
    scope = Scope("any", DAY, None, DAY - timedelta(days=1), None, "USD")
    assert scope.provisional
    assert not scope.is_provisional(DAY - timedelta(days=1))
    assert Scope("any", DAY, None, None, None, "USD").provisional


def test_the_headline_holds_the_exact_value_and_both_changes() -> None:
    rows = [_day(DAY, "1000.10"), _day(DAY - timedelta(days=1), "500.05"), _day(DAY - timedelta(days=7), "2000.20")]
    html = (
        TotalSales(Scope("any", DAY, date(2024, 8, 1), DAY, None, "USD"), sorted(rows, key=lambda row: row["sales_date"])).headline().html
    )
    assert '<data value="1000.10">1.00K</data>' in html
    assert "1,000.10 USD" in html
    assert "+100\xa0%" in html
    assert "−50.0\xa0%" in html


def test_the_weekday_table_has_shares_and_a_summary_row() -> None:
    rows = [_weekday("Sunday", 8_930), _weekday("Thursday", 8_630), _weekday("Friday", 1_910)]
    text = DayOfWeek(SCOPE, rows).table().text.splitlines()
    assert text[0] == "Day of week\tSales\tPieces\tShare of sales"
    assert text[1] == "Sunday\t8,930\t1\t45.865\xa0%"
    assert text[-1] == "All days\t19,470\t3\t100.000\xa0%"


def test_a_ranking_shows_a_hostile_name_as_data_only() -> None:
    row = {"id": 1, "name": SCRIPT, "members": 1, "all_sales_amount": Decimal(9), "day_sales_amount": Decimal(0), **_sums("9")}
    ranking = Ranking(SCOPE, [row], "seller", "sellers", "total_sales_amount", "{} sold most: {}, {} of all sales.")
    assert "<script" not in ranking.answer().html
    chart = ranking.bars()
    assert isinstance(chart, Chart)
    assert chart.spec["datasets"]["rows"][0]["name"] == SCRIPT
    assert SCRIPT not in json.dumps({key: value for key, value in chart.spec.items() if key != "datasets"})


def test_the_best_product_of_all_is_named_though_its_category_is_not_shown() -> None:
    def product(name: str, category_place: int, is_best: int, net: str) -> dict[str, Any]:
        return {"name": name, "category": f"c{category_place}", "category_place": category_place, "place": 1, "is_best": is_best,
                "categories": 13, "category_net_sales_amount": Decimal(net), **_sums(net)}  # fmt: skip

    products = TopProducts(SCOPE, [product("first", 1, 0, "5"), product("best", 13, 1, "9")])
    assert products.answer().text.startswith("best brought most")
    bars = products.bars()
    assert isinstance(bars, Row)
    assert [chart.title for chart in bars.parts if isinstance(chart, Chart)] == ["c1"]


def test_a_chart_in_a_notebook_is_what_jupyterlab_draws_offline() -> None:
    data, metadata = Chart(shapes.weekdays([], tooltip=()), "Title", "In words").__getattribute__("_repr_mimebundle_")()
    assert data[VEGALITE_MIME]["$schema"].endswith("/v5.json")
    assert data["text/plain"] == "Title: In words"
    assert metadata[VEGALITE_MIME]["embed_options"]["actions"] is False
    assert FRAGMENT_MIME not in data


# 5.8 is the oldest that can be had here; JupyterLab 4.6 has 5.6
@pytest.mark.parametrize("version", ["5.8", "6.4"])
def test_the_shapes_draw_in_the_vega_lite_of_jupyterlab_and_of_the_report(version: str) -> None:
    drawn = [
        {
            "date": "2024-09-06",
            "value": 3.0,
            "role": "accent",
            "day": "Friday",
            "label": "3",
            "share": "1 %",
            "rank": 1,
            "name": "Điện thoại",
        }
    ]
    versions = [{"rank": 1, "from": "2024-09-06T00:00:00.000Z", "to": f"2024-09-0{n}T00:00:00.000Z", "role": "base"} for n in (6, 7)]
    marked = [{"at": "2024-09-07", "label": "complete to 6 Sep 2024", "right": True}]
    specs = [
        shapes.days(drawn, complete_to=marked, tooltip=()),
        shapes.days(drawn * 200, complete_to=[], tooltip=()),
        shapes.weekdays(drawn, tooltip=()),
        shapes.ranking(drawn, tooltip=(("name", "Name"),)),
        shapes.timeline(versions, drawn, tooltip=(("name", "Name"),)),
    ]
    for spec, word in zip(specs, ("complete to 6 Sep 2024", "6 Sep", "Fri", "Điện thoại", "Điện thoại"), strict=True):
        assert word in vl_convert.vegalite_to_svg(spec, vl_version=version)


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_their_ground(colours: dict[str, str]) -> None:
    assert _contrast(colours["ink"], colours["surface"]) >= 7
    assert _contrast(colours["quiet"], colours["surface"]) >= 4.5
    for role in ("base", "accent"):
        assert _contrast(colours[role], colours["surface"]) >= 3


def _sums(amount: str) -> dict[str, Any]:
    return {
        "sales_quantity": 1,
        "total_sales_amount": Decimal(amount),
        "total_discount_amount": Decimal(0),
        "net_sales_amount": Decimal(amount),
    }


def _day(day: date, amount: str) -> dict[str, Any]:
    return {"sales_date": day, "orders": 1, **_sums(amount)}


def _weekday(day: str, amount: int) -> dict[str, Any]:
    return {"day_of_week": day, "days": 1, **_sums(str(amount))}


def _contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("days", [1, 2, 3, 5, 37])
def test_an_axis_names_a_day_once(days: int) -> None:
    rows = [{"date": f"{DAY + timedelta(days=n)}", "value": n, "role": "base", "group": "A", "mark": None, "place": 0} for n in range(days)]
    labels = re.findall(r">(\d+ [A-Z][a-z]{2})<", vl_convert.vegalite_to_svg(shapes.stacked_days(rows, tooltip=())))
    assert labels
    assert len(labels) == len(set(labels))
