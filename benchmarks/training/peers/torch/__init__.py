"""A plain torch loop; see __main__."""
