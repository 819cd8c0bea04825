"""Links lead somewhere, every page is found from the README, and code names pages that are there."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, README, ROOT, Page, anchor

SOURCES = ("coscribe", "actors", "router", "persistence", "cluster", "loadtests", "benchmarks", "sdk/src", "sdk/page")
MENTION = re.compile(r'docs/([\w-]+)\.md(?:, "([^"]+)")?')


@pytest.mark.parametrize("page", PAGES, ids=repr)
def test_links_between_pages_lead_somewhere(page: Page) -> None:
    for link in page.links:
        if link.startswith(("https://", "http://")):
            continue
        name, _, place = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        assert target.exists(), f"{page}: {link}"
        if place:
            assert place in Page(target).anchors, f"{page}: {link}"


@pytest.mark.parametrize("page", list(DOCS.values()), ids=repr)
def test_every_page_is_linked_from_the_readme(page: Page) -> None:
    assert any((ROOT / link.partition("#")[0]).resolve() == page.path for link in README.links if ":" not in link)


@pytest.mark.parametrize("page", PAGES, ids=repr)
def test_a_list_of_contents_names_every_part_of_its_page(page: Page) -> None:
    listed = re.findall(r"^- \[[^\]]+\]\(#([^)]+)\)$", page.prose, re.MULTILINE)
    if listed:
        assert listed == [anchor(part) for part in re.findall(r"^## (.+)$", page.prose, re.MULTILINE)]


def _mentions() -> list[tuple[Path, str, str]]:
    found = []
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".ts", ".lua", ".sql"):
                text = re.sub(r"\s*\n\s*(?:#|//|--)?\s*", " ", path.read_text("utf-8"))
                found += [(path, match[1], match[2] or "") for match in MENTION.finditer(text)]
    return found


def test_code_names_pages_and_headings_that_are_there() -> None:
    mentions = _mentions()
    assert mentions
    for path, page, heading in mentions:
        assert page in DOCS, f"{path}: docs/{page}.md"
        if heading:
            assert heading in DOCS[page].headings, f"{path}: {heading} in docs/{page}.md"


def test_rule_3_of_editing_is_the_one_that_the_owner_follows() -> None:
    """coscribe/section.py refers to it by its number."""
    assert "3. **Submitting.**" in DOCS["sections"].section("Editing")
