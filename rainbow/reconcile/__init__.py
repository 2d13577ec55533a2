"""Reconcile: whether every place holds what the source holds, table by table and day by day; and which place is the first that does not.

Two ways lead away from PostgreSQL: by the lake, raw and the fact to the batch view, and by the mirror to the unified view. What was
changed since the last extract the batch cannot have yet: a day of such rows is behind, not wrong. The mirror is compared by key.
"""

from rainbow.reconcile.comparing import Difference, Reconciled, reconcile

__all__ = ["Difference", "Reconciled", "reconcile"]
