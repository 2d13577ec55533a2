"""Runs: the pipeline carried out for partitions, once, for a range by a plan, or each day by itself; and the page that shows the outcome."""
