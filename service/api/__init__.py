"""The JSON of the API: decoding requests and encoding answers."""
