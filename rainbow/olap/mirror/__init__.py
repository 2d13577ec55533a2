"""The database ``mirror``: the source's tables with their histories (`tables`), and what is kept beside them as changes arrive, so that the
unified views need not work it out at each read (`kept`)."""
