"""Partitions: the UTC days that the batch layer works on, the ledger of what was made of them, and running a range of them."""
