"""torch; see __main__."""
