"""Worked examples: a product through its versions, two partitions side by side, an order's way to the chart.

The notebooks in ``notebooks/explore`` call these; each asks the stores once and gives an object whose methods are the cells.
"""

from rainbow.explore.orders_way import orders_way
from rainbow.explore.partition_diff import compare
from rainbow.explore.product import follow
from rainbow.explore.start import start

__all__ = ["compare", "follow", "orders_way", "start"]
