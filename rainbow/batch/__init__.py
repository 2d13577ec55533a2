"""The batch layer's steps, as the notebooks in ``notebooks/batch`` call them: each does its work, notes it in the ledger, and says what it did."""

from rainbow.batch.evidence import Evidence, evidence, shown_if_it_fails
from rainbow.batch.previews import preview
from rainbow.batch.steps import Step, extract, load, publish, rebuild, transform, validate

__all__ = ["Evidence", "Step", "evidence", "extract", "load", "preview", "publish", "rebuild", "shown_if_it_fails", "transform", "validate"]
