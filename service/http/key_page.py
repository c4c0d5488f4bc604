"""What a browser is shown that opens a file of a model without the key that it needs: the way to it."""

import re
from html import escape
from urllib.parse import quote

from service.access.keys import MODEL
from service.access.refusals import Header
from service.http.cards import STYLE
from service.http.model_files import HARMLESS, HTML, prefers_html
from service.telemetry.records import Record

FILE = re.compile(rf"/{MODEL}/(behaviour|card)")

HEADERS: list[Header] = [(name.encode(), value.encode()) for name, value in HARMLESS.items()]
CONTENT_TYPE = HTML.encode()


def key_page(record: Record, message: str) -> bytes | None:
    """The refusal as a page, for a browser that opens a card or a report; None for all else.

    A browser cannot show a key with a link. The status page can: it asks for one, and shows the file that is named
    after the #.
    """
    accept = record.headers.get(b"accept", b"").decode("latin-1")
    if not FILE.fullmatch(record.path) or not prefers_html(accept) or "json" in accept:
        return None  # a script that asks for a page understands the refusal's usual form
    up = "../" * (record.path.count("/") - 1)  # relative, so that it leads there below any prefix
    link = escape(f"{up}status#{quote(record.path[1:])}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A key is needed</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>'
        f"<h1>This service asks for a key</h1><p>The service says: {escape(message)}. A link cannot show one.</p>"
        f'<p><a href="{link}">Open it on the status page</a>, which asks for the key and keeps it until the tab is '
        "closed.</p></main></body></html>\n"
    ).encode()
