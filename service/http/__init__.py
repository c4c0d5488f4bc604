"""HTTP: the way in, the routes, and the processes that answer."""
