"""The shop's PostgreSQL database: its tables, its schema, and reading a day of it."""
