"""How a model's documents are shown in a browser.

The files are untrusted but shown at the service's own address, so headers forbid them scripts, requests and the
service's origin.
"""

HARMLESS = {
    "content-security-policy": (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}

HTML = "text/html; charset=utf-8"


def prefers_html(accept: str) -> bool:
    """Return whether an Accept header ranks `text/html` above Markdown (RFC 9110, 12.5.1); `*/*` prefers neither."""
    return _rank(accept, "text/html") > _rank(accept, "text/markdown")


def _rank(accept: str, kind: str) -> float:
    """Return the `q` of a media type, by default 1; 0 if the type is not named."""
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if media == kind:
            given = [parameter.removeprefix("q=") for parameter in parameters if parameter.startswith("q=")]
            return _number(given[0]) if given else 1.0
    return 0.0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
