"""The page shown to a browser that opens a model's document without the required key."""

import re
from html import escape
from urllib.parse import quote

from service.access.calls import Header
from service.access.keys import MODEL
from service.http.cards import STYLE
from service.http.documents import HARMLESS, HTML, prefers_html
from service.telemetry.records import Record

FILE = re.compile(rf"/{MODEL}/(behaviour|card)")

HEADERS: tuple[Header, ...] = tuple((name.encode(), value.encode()) for name, value in HARMLESS.items())
CONTENT_TYPE = HTML.encode()


def key_page(record: Record, message: str) -> bytes | None:
    """Return the error as a page if a browser opens a card or a report, else None.

    A link cannot send a key, but the status page can: it has a field for the key, and opens the document named in its
    fragment (#).
    """
    accept = record.headers.get(b"accept", b"").decode("latin-1")
    if not FILE.fullmatch(record.path) or not prefers_html(accept) or "json" in accept:
        return None  # a script gets the usual form of errors
    up = "../" * (record.path.count("/") - 1)  # relative, so that it works below any prefix
    link = escape(f"{up}status#{quote(record.path[1:])}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A key is required</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>'
        f"<h1>This service requires a key</h1><p>The service's message: {escape(message)}. A link cannot send one.</p>"
        f'<p><a href="{link}">Open it on the status page</a>, where you can enter the key; it is kept until the tab is '
        "closed.</p></main></body></html>\n"
    ).encode()
