"""A model card as a page that needs nothing beside itself: Markdown in, HTML out, with the plots in it."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from markdown_it import MarkdownIt
from markdown_it.token import Token

from service.repository.documents import Documents

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

WIDE, END = '<div class="wide" tabindex="0" role="region" aria-label="table">', "</div>\n"
"""Around a table: on a narrow screen it scrolls, also by keyboard."""


def render_card(documents: Documents) -> bytes:
    """The page. HTML in a card is shown as text, and of images only the model's plots are. Raises as reading does."""
    reader = MarkdownIt("js-default")
    tokens = reader.parse(documents.read_card().decode("utf-8", "replace"))
    for token in _images(tokens):
        name = str(token.attrs.get("src", ""))
        token.attrs["src"] = _embed(documents.read_plot(name)) if name in documents.plots else ""
    body = reader.renderer.render(tokens, reader.options, {})
    body = body.replace("<table>", f"{WIDE}<table>").replace("</table>\n", f"</table>{END}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(documents.place)}: model card'
        f'</title><meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>\n{body}'
        "</main></body></html>\n"
    ).encode()


def _images(tokens: Sequence[Token]) -> list[Token]:
    children = [child for token in tokens for child in token.children or ()]
    return [child for child in children if child.type == "image"]


def _embed(plot: bytes) -> str:
    """As the source of an image; scripts in it do not run."""
    return f"data:image/svg+xml;base64,{b64encode(plot).decode()}"
