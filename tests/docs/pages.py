"""The documentation as tests read it: pages, headings, links, tables and blocks of code."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`\n]+`")


@dataclass(frozen=True)
class Block:
    """A fenced block of code, and the heading that it stands under."""

    language: str
    text: str
    heading: str
    line: int


class Page:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text("utf-8")

    def __repr__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks, which keep their lines."""
        return _FENCE.sub(lambda block: "\n" * block[0].count("\n"), self.text)

    @cached_property
    def headings(self) -> list[str]:
        return [match[2].strip() for match in _HEADING.finditer(self.prose)]

    @cached_property
    def anchors(self) -> set[str]:
        return {anchor(heading) for heading in self.headings}

    @cached_property
    def links(self) -> list[str]:
        return [match[1] for match in _LINK.finditer(_CODE.sub("", self.prose))]

    @cached_property
    def blocks(self) -> list[Block]:
        found = []
        for match in _FENCE.finditer(self.text):
            before = self.text[: match.start()]
            headings = _HEADING.findall(_FENCE.sub("", before))
            found.append(Block(match[1], match[2], headings[-1][1].strip(), before.count("\n") + 1))
        return found

    def section(self, heading: str) -> str:
        """What stands under a heading, up to the next one of its level or above."""
        found = next(match for match in _HEADING.finditer(self.prose) if match[2].strip() == heading)
        following = (match for match in _HEADING.finditer(self.prose, found.end()) if len(match[1]) <= len(found[1]))
        end = next(following, None)
        return self.prose[found.end() : end.start() if end else None]

    def table(self, heading: str) -> list[list[str]]:
        """The cells of every table under a heading, row by row, without the heads."""
        rows: list[list[str]] = []
        lines = self.section(heading).splitlines()
        for index, line in enumerate(lines):
            is_head = index + 1 < len(lines) and lines[index + 1].startswith("|--")
            if line.startswith("|") and not line.startswith("|--") and not is_head:
                rows.append([cell.strip() for cell in line.strip("|").split("|")])
        return rows


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def words(cell: str) -> list[str]:
    """What stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


README = Page(ROOT / "README.md")
DOCS = {path.stem: Page(path) for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES = [README, *DOCS.values(), Page(ROOT / "k8s" / "README.md"), Page(ROOT / "CHANGELOG.md")]
