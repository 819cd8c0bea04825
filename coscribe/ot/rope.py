"""The text of a document in pieces, for changes at any place in time that hardly depends on its length.

Segments of one format each stand in blocks. A cursor stays on the segment last touched; a jump walks the lengths of
blocks, then those of the segments of one block. In the cursor's segment there may be a gap, as in a gap buffer: its
text is then in two strings, and typing appends to the left one, which grows in place. No segment begins or ends
inside a surrogate pair: callers check the places they edit at.
"""

from typing import Final

from coscribe.ot.attributes import Attributes, compose_attributes, same_attributes
from coscribe.ot.components import Components, Embed
from coscribe.ot.segments import Block, Segment, chop, segments_of

SEGMENT_UNITS: Final = 1_536
BLOCK_SEGMENTS: Final = 32


class Rope:
    """There is always a block, and only that of an empty document is empty."""

    __slots__ = (
        "_block",
        "_block_segments",
        "_block_start",
        "_blocks",
        "_gap",
        "_here",
        "_index",
        "_inside",
        "_left",
        "_right",
        "_segment_units",
        "_space",
        "_start",
        "burden",
        "length",
        "segment_count",
        "widest",
    )

    def __init__(self, components: Components, segment_units: int, block_segments: int) -> None:
        assert segment_units >= 4, "a segment must hold more than a surrogate pair"
        assert block_segments >= 2, "a block is no segment"
        self._segment_units = segment_units
        self._block_segments = block_segments
        segments: list[Segment] = []
        for component in components:
            segments.extend(segments_of(component, segment_units))
        self._blocks = [
            Block(segments[first : first + block_segments]) for first in range(0, len(segments), block_segments)
        ] or [Block([])]
        self.length = sum(block.length for block in self._blocks)
        self.burden = 0
        # The most that the attributes of a segment ever took: what parting one may cost.
        self.widest = 0
        self.segment_count = 0
        self._weigh(segments)
        # The gap's place, or -1: then the text and lengths of the cursor's segment are right, else `length` alone is.
        self._gap = -1
        self._left = ""
        self._right = ""
        self._space = 0  # units that the segment of the gap may yet grow by
        self._to(0, 0)

    # --- Changes; `position` and what follows it are inside the document ---

    def insert(self, position: int, text: str, attributes: Attributes | None) -> None:
        here = self._here
        units = len(text)
        if position != self._gap or not (here.attributes is attributes or same_attributes(here.attributes, attributes)):
            if self._gap >= 0:
                self._close()
            offset = position - self._start
            if not 0 < offset <= here.length:
                offset = self._seek(position)
                here = self._here
            if (
                here.length + units > self._segment_units
                or not (here.attributes is attributes or same_attributes(here.attributes, attributes))
                or here.embed is not None
                or not here.length
            ):
                self._insert_segments(position, chop(text, attributes, self._segment_units))
                return
            held = here.text
            self._left = held[:offset] + text
            self._right = held[offset:]
            self._space = self._segment_units - here.length
        else:
            if units > self._space:
                self._close()
                self._insert_segments(position, chop(text, attributes, self._segment_units))
                return
            left = self._left
            self._left = ""  # a string that nobody else holds grows in place
            left += text
            self._left = left
        self._gap = position + units
        self._space -= units
        self.length += units

    def insert_embed(self, position: int, embed: Embed) -> None:
        self._close()
        self._insert_segments(position, segments_of(embed, self._segment_units))

    def delete(self, position: int, units: int) -> None:
        gap = self._gap
        if position + units == gap and units < len(self._left):
            self._left = self._left[:-units]
        elif position == gap and units < len(self._right):
            self._right = self._right[units:]
        else:
            if gap >= 0:
                self._close()
            here = self._here
            first = position - self._start
            if not 0 <= first < here.length:
                first = self._seek(position + 1) - 1
                here = self._here
            left = here.length - units
            if first > left or not left:
                self._delete_segments(position, units)
                return
            held = here.text
            self._left = held[:first]
            self._right = held[first + units :]
            self._space = self._segment_units - here.length
        self._gap = position
        self._space += units
        self.length -= units

    def format(self, position: int, units: int, attributes: Attributes) -> None:
        self._close()
        offset = self._seek(position + 1) - 1
        here = self._here
        if offset + units <= here.length and same_attributes(
            compose_attributes(here.attributes, attributes, keep_null=False), here.attributes
        ):
            return  # what changes nothing parts no segment
        while units:
            first, last, done = self._isolate(position, units)
            segments = self._blocks[self._block].segments
            self._format_segments(segments[first:last], attributes)
            for index in range(last, first - 1, -1):
                self._join(segments, index)
            self._settle()
            position += done
            units -= done

    # --- Reading ---

    def segments(self) -> list[Segment]:
        self._close()
        return [segment for block in self._blocks for segment in block.segments]

    def unit(self, position: int) -> str:
        """The unit at `position`; of an embed, its placeholder."""
        if self._gap >= 0:
            offset = position - self._start
            before = len(self._left)
            if 0 <= offset < before:
                return self._left[offset]
            if 0 <= offset - before < len(self._right):
                return self._right[offset - before]
            self._close()
        offset = self._seek(position + 1) - 1
        return self._here.text[offset]

    # --- The cursor ---

    def _close(self) -> None:
        """Leaves no gap."""
        if self._gap < 0:
            return
        here = self._here
        here.text = self._left + self._right
        grown = len(here.text) - here.length
        here.length += grown
        self._inside.length += grown
        self._gap = -1

    def _to(self, number: int, start: int) -> None:
        """Stands on the first segment of a block that starts at `start`."""
        block = self._blocks[number]
        self._block = number
        self._inside = block
        self._block_start = start
        self._index = 0
        self._start = start
        self._here = block.segments[0] if block.segments else _NOTHING

    def _seek(self, position: int) -> int:
        """Stands on the segment that holds `position` or ends there; answers with the offset in it."""
        if not position:
            self._to(0, 0)
            return 0
        if not 0 < position - self._block_start <= self._inside.length:
            self._seek_block(position)
        segments = self._inside.segments
        index = self._index
        end = self._start
        while position <= end:
            index -= 1
            end -= segments[index].length
        here = segments[index]
        offset = position - end
        while offset > here.length:
            offset -= here.length
            index += 1
            here = segments[index]
        self._index = index
        self._start = position - offset
        self._here = here
        return offset

    def _seek_block(self, position: int) -> None:
        """Stands on the nearer end of the block of `position`, which is looked for from the cursor or an end of the
        text, whatever is nearest."""
        blocks = self._blocks
        number = self._block
        start = self._block_start
        if position < abs(position - start):
            number = start = 0
        elif self.length - position < abs(position - start):
            number = len(blocks) - 1
            start = self.length - blocks[number].length
        while position <= start:
            number -= 1
            start -= blocks[number].length
        block = blocks[number]
        left = position - start
        while left > block.length:
            left -= block.length
            number += 1
            block = blocks[number]
        self._to(number, position - left)
        if left > block.length >> 1:
            self._index = len(block.segments) - 1
            self._start += block.length - block.segments[-1].length

    # --- Whole segments ---

    def _grow(self, units: int) -> None:
        self._inside.length += units
        self.length += units

    def _isolate(self, position: int, units: int) -> tuple[int, int, int]:
        """Parts segments so that some of one block hold `position` and what follows, up to `units` or the block's
        end: (first, one after the last, units held). With no units, only parts.

        Stands on the segment before them, which may grow but stays, or on the first of the block; _settle must
        follow."""
        offset = self._seek(position + 1) - 1 if units else self._seek(position)
        block = self._blocks[self._block]
        units = min(units, self._block_start + block.length - position)
        first = self._part(block.segments, self._index, offset)
        if first:
            self._index = first - 1
            self._start = position - block.segments[first - 1].length
        last = first
        left = units
        while left and left >= block.segments[last].length:
            left -= block.segments[last].length
            last += 1
        return first, self._part(block.segments, last, left), units

    def _part(self, segments: list[Segment], index: int, offset: int) -> int:
        """The index of the segment that starts at `offset` in that of `index`, made if need be."""
        if not offset:
            return index
        segment = segments[index]
        if offset < segment.length:
            self.burden += segment.burden()
            self.segment_count += 1
            segments.insert(index + 1, Segment(segment.text[offset:], segment.attributes))
            segment.text = segment.text[:offset]
            segment.length = offset
        return index + 1

    def _insert_segments(self, position: int, new: list[Segment]) -> None:
        first, _, _ = self._isolate(position, 0)
        block = self._blocks[self._block]
        block.segments[first:first] = new
        self._grow(sum(segment.length for segment in new))
        self._weigh(new)
        self._join(block.segments, first + len(new))
        self._join(block.segments, first)
        self._settle()

    def _delete_segments(self, position: int, units: int) -> None:
        while units:
            first, last, done = self._isolate(position, units)
            block = self._blocks[self._block]
            self.burden -= sum(segment.burden() for segment in block.segments[first:last])
            self.segment_count -= last - first
            del block.segments[first:last]
            self._grow(-done)
            self._join(block.segments, first)
            self._settle()
            units -= done

    def _format_segments(self, segments: list[Segment], attributes: Attributes) -> None:
        before: Attributes | None = None
        after = compose_attributes(None, attributes, keep_null=False)
        for segment in segments:
            # Segments that shared their attributes go on to share them.
            if segment.attributes is not before:
                before = segment.attributes
                after = compose_attributes(before, attributes, keep_null=False)
            width = 0 if after is None else len(after.key)
            self.burden += width - segment.width()
            self.widest = max(self.widest, width)
            segment.attributes = after
            if segment.embed is not None:
                segment.embed = segment.embed.formatted(after)

    def _weigh(self, segments: list[Segment]) -> None:
        """Counts new ones in."""
        self.segment_count += len(segments)
        for segment in segments:
            self.burden += segment.burden()
            self.widest = max(self.widest, segment.width())

    def _join(self, segments: list[Segment], index: int) -> None:
        """Makes one of the segments on both sides of `index`, where they are alike and short enough."""
        if not 0 < index < len(segments):
            return
        left, right = segments[index - 1], segments[index]
        if left.length + right.length <= self._segment_units and left.joins(right):
            left.text += right.text
            left.length += right.length
            self.burden -= right.burden()
            self.segment_count -= 1
            del segments[index]

    def _settle(self) -> None:
        """After whole segments came or went in the cursor's block: bounds its size, and stands on a segment again."""
        at = self._block
        blocks = self._blocks
        segments = blocks[at].segments
        count = len(segments)
        most = self._block_segments
        if count > 2 * most:
            blocks[at : at + 1] = [Block(segments[first : first + most]) for first in range(0, count, most)]
            self._to(at, self._block_start)
        elif not count and len(blocks) > 1:
            del blocks[at]
            self._to(0, 0)
        elif at and count + len(blocks[at - 1].segments) <= most // 2:
            before = blocks[at - 1]
            start = self._block_start - before.length
            before.segments.extend(segments)
            before.length += blocks[at].length
            del blocks[at]
            self._to(at - 1, start)
        else:
            self._here = segments[self._index] if count else _NOTHING


_NOTHING: Final = Segment("", None)
