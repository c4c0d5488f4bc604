"""Relative links of the documents: the file that each names is there, and has the heading that it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page.relative_to(ROOT)
    for pattern in ("*.md", "docs/*.md", "deploy/**/*.md", "models/**/*.md")
    for page in ROOT.glob(pattern)
)
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def links(page: Path) -> list[str]:
    """The targets of a page's links within the repository."""
    found = [link or source for link, source in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))]
    return [target for target in found if not re.match(r"\w+:", target)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes from a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_are_links() -> None:
    assert sum(len(links(ROOT / page)) for page in PAGES) > 100


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(ROOT / page):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_is_in_the_contents() -> None:
    contents = set(links(ROOT / "docs" / "README.md"))
    pages = {page.name for page in ROOT.glob("docs/*.md")} - {"README.md"}
    assert pages <= {target.partition("#")[0] for target in contents}
