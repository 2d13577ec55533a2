"""Reports: executed notebooks as pages that open anywhere, with no network and no server.

A report a partition, and a page an executed notebook; the catalogue that leads to them is in ``rainbow.reports.catalogue``. What
the pages say is the caller's and the notebooks'; nothing here reads a database or the ledger.
"""

from rainbow.reports.evidence import PAGE as EVIDENCE_PAGE
from rainbow.reports.evidence import render_evidence
from rainbow.reports.live import live_page, live_section
from rainbow.reports.pages import error_of, render_notebook, render_report

__all__ = ["EVIDENCE_PAGE", "error_of", "live_page", "live_section", "render_evidence", "render_notebook", "render_report"]
