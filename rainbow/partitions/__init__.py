"""Partitions: the UTC days that the batch layer works on, the assets that are made for each, the ledger of them, and what it says is to be done."""
