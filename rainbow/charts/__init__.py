"""The shop's dashboards: eight subjects, one visual language, drawn by Altair and readable without the network.

``charts.total_sales(partition_date)`` and its like ask ClickHouse and give an object whose methods are a notebook's cells.
Rendering notebooks to pages is ``rainbow.reports``'s.
"""

from rainbow.charts.day_of_week import DayOfWeek, day_of_week
from rainbow.charts.elements import Chart, Column, Figure, Fragment, Row, answer, empty, headline, table
from rainbow.charts.operations import Operations, operations
from rainbow.charts.own import Own, own
from rainbow.charts.product_history import ProductHistory, product_history
from rainbow.charts.rankings import Ranking, customer_ranking, payment_methods, top_sellers
from rainbow.charts.top_products_by_category import TopProducts, top_products_by_category
from rainbow.charts.total_sales import TotalSales, total_sales

__all__ = [
    "Chart",
    "Column",
    "DayOfWeek",
    "Figure",
    "Fragment",
    "Operations",
    "Own",
    "ProductHistory",
    "Ranking",
    "Row",
    "TopProducts",
    "TotalSales",
    "answer",
    "customer_ranking",
    "day_of_week",
    "empty",
    "headline",
    "operations",
    "own",
    "payment_methods",
    "product_history",
    "table",
    "top_products_by_category",
    "top_sellers",
    "total_sales",
]
