"""The pieces of a document's text: segments of one format each, and blocks of segments."""

from typing import Final

from mypy_extensions import mypyc_attr

from coscribe.ot.attributes import Attributes, same_attributes
from coscribe.ot.components import Component, Embed, Insert
from coscribe.ot.text import is_low_surrogate

# What a segment itself takes of memory, in round figures.
SEGMENT_BYTES: Final = 256


@mypyc_attr(acyclic=True)
class Segment:
    """Text of one format, or one embed (whose `text` is a placeholder of one unit)."""

    __slots__ = ("attributes", "embed", "length", "text")

    def __init__(self, text: str, attributes: Attributes | None, embed: Embed | None = None) -> None:
        self.text = text
        self.length = len(text)
        self.attributes = attributes
        self.embed = embed

    def burden(self) -> int:
        """About the bytes it takes besides its text."""
        return SEGMENT_BYTES + self.width() + (0 if self.embed is None else len(self.embed.key))

    def width(self) -> int:
        """The bytes of its attributes."""
        return 0 if self.attributes is None else len(self.attributes.key)

    def joins(self, other: "Segment") -> bool:
        return self.embed is None and other.embed is None and same_attributes(self.attributes, other.attributes)


class Block:
    __slots__ = ("length", "segments")

    def __init__(self, segments: list[Segment]) -> None:
        self.segments = segments
        self.length = sum(segment.length for segment in segments)


def segments_of(component: Component, segment_units: int) -> list[Segment]:
    if isinstance(component, str):
        return chop(component, None, segment_units)
    if isinstance(component, Insert):
        return chop(component.text, component.attributes, segment_units)
    assert isinstance(component, Embed), "a document only inserts"
    return [Segment("\ufffc", component.attributes, component)]


def chop(text: str, attributes: Attributes | None, segment_units: int) -> list[Segment]:
    """Segments with room to type into."""
    size = segment_units * 3 // 4
    if len(text) <= size:
        return [Segment(text, attributes)]
    segments: list[Segment] = []
    at = 0
    while at < len(text):
        end = at + size
        if end < len(text) and is_low_surrogate(text[end]):
            end -= 1
        segments.append(Segment(text[at:end], attributes))
        at = end
    return segments
