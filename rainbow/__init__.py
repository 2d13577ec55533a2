"""What the notebooks, the API and the streaming layer of Rainbow Workbench share.

In a notebook, ``%load_ext rainbow`` brings the cells ``%%pg``, ``%%bq``, ``%%ch`` and ``%%duck``; see ``rainbow.sql_cells``.
"""

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """What ``%load_ext rainbow`` calls."""
    from rainbow.sql_cells import register

    register(shell)
