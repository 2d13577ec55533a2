"""The orders API: FastAPI over the shop's PostgreSQL, in the layers routes, controllers, services, repositories and models.

A call comes in at ``routes``, ``controllers`` turn HTTP into the shop's words and back, ``services`` hold the rules, ``repositories``
the SQL, ``models`` the data; ``unit_of_work`` is one transaction. ``app`` puts them together. Nothing here is imported by ``rainbow``.
"""
