"""The change from one document to another.

Texts are compared in real characters, so that no surrogate pair is cut; an embed stands among them as NUL, which no
text holds. First by lines, then inside the lines that differ, as long as time is left: what is not compared by then is
replaced as a whole. diff-match-patch's own way to lines is not taken, for parts of it look at no clock: it spends two
minutes on a megabyte of equal short lines.
"""

import time
from typing import Any, Final

from coscribe.ot.attributes import diff_attributes
from coscribe.ot.builder import Builder
from coscribe.ot.components import Components, Insert
from coscribe.ot.reader import Reader
from coscribe.ot.text import collapse, expand

_DELETED: Final = -1
_KEPT: Final = 0
_INSERTED: Final = 1

# Characters in which whole words are preferred to letters that happen to be in both. Beyond, it takes too long.
_READABLE: Final = 4_000

_Part = tuple[int, str]


def diff(before: Components, after: Components, timeout_s: float) -> Components:
    """Both only insert. Composed with `before`, the answer is `after`."""
    if before == after:
        return ()
    out = Builder()
    a, b = Reader(before), Reader(after)
    for kind, text in _parts(_characters(before), _characters(after), timeout_s):
        left = len(expand(text))
        while left:
            units = left
            if kind != _INSERTED:
                units = min(units, a.left)
            if kind != _DELETED:
                units = min(units, b.left)
            if kind == _KEPT and _same(a, b):
                out.retain(units, diff_attributes(a.attributes, b.attributes))
            else:
                if kind != _DELETED:
                    _take(out, b, units)
                if kind != _INSERTED:
                    out.delete(units)
            if kind != _INSERTED:
                a.skip(units)
            if kind != _DELETED:
                b.skip(units)
            left -= units
    return out.build()


def _same(a: Reader, b: Reader) -> bool:
    """Of two places with the same characters: whether they hold the same embed, if they hold one."""
    old, new = a.embed(), b.embed()
    return old is new or (old is not None and new is not None and old.key == new.key)


def _take(out: Builder, reader: Reader, units: int) -> None:
    embed = reader.embed()
    if embed is not None:
        out.embed(embed)
    else:
        out.insert(reader.text(units), reader.attributes)


def _characters(document: Components) -> str:
    parts: list[str] = []
    for component in document:
        if isinstance(component, str):
            parts.append(collapse(component))
        else:
            parts.append(collapse(component.text) if isinstance(component, Insert) else "\0")
    return "".join(parts)


def _parts(before: str, after: str, timeout_s: float) -> list[_Part]:
    # Loaded by those who use it only.
    from diff_match_patch import diff_match_patch  # type: ignore[import-untyped]

    engine: Any = diff_match_patch()
    engine.Diff_Timeout = 0  # searches for half a match take no notice of the time; this leaves them out
    deadline = time.time() + timeout_s
    old_lines, new_lines, lines = engine.diff_linesToChars(before, after)
    by_lines = engine.diff_main(old_lines, new_lines, False, deadline)
    engine.diff_charsToLines(by_lines, lines)
    parts: list[_Part] = []
    deleted = inserted = ""
    for kind, text in [*by_lines, (_KEPT, "")]:
        if kind == _DELETED:
            deleted += text
        elif kind == _INSERTED:
            inserted += text
        else:
            parts += _inside(engine, deleted, inserted, deadline)
            parts.append((_KEPT, text))
            deleted = inserted = ""
    return parts


def _inside(engine: Any, deleted: str, inserted: str, deadline: float) -> list[_Part]:
    """The same of some lines."""
    if not deleted or not inserted:
        return [(_DELETED, deleted), (_INSERTED, inserted)]
    parts: list[_Part] = engine.diff_main(deleted, inserted, False, deadline)
    if len(deleted) + len(inserted) <= _READABLE and time.time() < deadline:
        engine.diff_cleanupSemantic(parts)
    return parts
