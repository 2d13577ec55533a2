"""A ClickHouse server: one process that owns the data folder through chdb and speaks ClickHouse's HTTP interface.

https://clickhouse.com/docs/interfaces/http is what it follows. What `request` reads from HTTP, `engine` runs, `answer` writes
back; `app` puts them together. It listens on the loopback, for one user and one password.
"""
