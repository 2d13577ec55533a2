"""Reports: executed notebooks as pages that open anywhere, with no network and no server.

A report a partition, a page an executed notebook, and the index of all partitions. What the pages say is the caller's and the
notebooks'; nothing here reads a database or the ledger.
"""

from rainbow.reports.pages import Entry, State, render_index, render_notebook, render_report

__all__ = ["Entry", "State", "render_index", "render_notebook", "render_report"]
