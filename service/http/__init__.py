"""HTTP: the ASGI app, its routes and connections, and the server processes."""
