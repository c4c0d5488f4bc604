"""Lightning; see __main__."""
