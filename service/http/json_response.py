"""A response of FastAPI with JSON that is encoded already."""

from fastapi import Response


def json_response(content: bytes) -> Response:
    """Return a successful response with encoded JSON."""
    return Response(content, media_type="application/json")
