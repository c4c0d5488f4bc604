"""The real service in real processes, and what may go wrong around it: the short form as tests, the long as `soak`."""
