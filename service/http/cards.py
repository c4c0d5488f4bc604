"""Render a model card to a self-contained page: Markdown to HTML, with the plots embedded."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING

from service.repository.documents import Documents

if TYPE_CHECKING:
    from markdown_it.token import Token

STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1f2328;--faint:#d8dee4;--soft:#59636e}
@media(prefers-color-scheme:dark){:root{--page:#0d1117;--ink:#e6edf3;--faint:#3d444d;--soft:#9198a1}}
body{margin:0 auto;max-width:56rem;padding:2rem 1.25rem 4rem;background:var(--page);color:var(--ink);
font:16px/1.6 system-ui,sans-serif;overflow-wrap:break-word}
h1,h2,h3{line-height:1.25;margin:2em 0 .6em}h1{margin-top:0}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9em;font-variant-numeric:tabular-nums}
th,td{border-bottom:1px solid var(--faint);padding:.35em 1em .35em 0;text-align:left;vertical-align:top}
th{color:var(--soft);font-weight:600}img{max-width:100%}code{font-size:.9em}pre{overflow-x:auto}
"""

MAX_RENDERED_BYTES = 2**18
"""The largest card to render, which takes about 3 s per MiB; a longer one is shown as plain text."""
MAX_PLOT_BYTES = 2**21
"""The largest total size of the plots of a page; further plots are left out."""
MAX_PAGES = 8
"""The number of cached pages."""

SCROLLS = 'tabindex="0" role="region" aria-label='
"""Attributes of elements that scroll on a narrow screen, so that the keyboard can scroll them too."""
AROUND = {
    "<table>": f'<div class="wide" {SCROLLS}"table"><table>',
    "</table>\n": "</table></div>\n",
    "<pre>": f'<pre {SCROLLS}"code">',
}


def render_card(documents: Documents) -> bytes:
    """Return the page of a model card. Raises UnknownFile or NotReady.

    HTML in a card is shown as text, and only the model's plots are shown as images, each once.
    """
    card = documents.read_card()
    named = [name for name in documents.plots if name.encode() in card and len(card) <= MAX_RENDERED_BYTES]
    return _page(documents.place, card, tuple(_that_fit((name, documents.read_plot(name)) for name in named)))


def _that_fit(plots: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    left = MAX_PLOT_BYTES
    for name, plot in plots:
        left -= len(plot)
        if left < 0:
            return
        yield name, plot


@lru_cache(MAX_PAGES)
def _page(place: str, card: bytes, plots: tuple[tuple[str, bytes], ...]) -> bytes:
    text = card.decode("utf-8", "replace")
    body = _render(text, dict(plots)) if len(card) <= MAX_RENDERED_BYTES else f"<pre>{escape(text)}</pre>\n"
    for tag, instead in AROUND.items():
        body = body.replace(tag, instead)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(place)}: model card'
        f'</title><meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>\n{body}'
        "</main></body></html>\n"
    ).encode()


def _render(card: str, plots: dict[str, bytes]) -> str:
    from markdown_it import MarkdownIt  # 1 MB, which a service without readers of cards does not need

    reader = MarkdownIt("js-default")
    tokens = reader.parse(card)
    for token in _images(tokens):
        plot = plots.pop(str(token.attrs.get("src", "")), None)
        token.attrs["src"] = _embed(plot) if plot else ""
    return str(reader.renderer.render(tokens, reader.options, {}))


def _images(tokens: "Sequence[Token]") -> "list[Token]":
    children = [child for token in tokens for child in token.children or ()]
    return [child for child in children if child.type == "image"]


def _embed(plot: bytes) -> str:
    """Return an SVG as the source of an image, in which its scripts do not run."""
    return f"data:image/svg+xml;base64,{b64encode(plot).decode()}"
