"""The content of a section: what its entries led to. Every delta is checked against it before anything changes."""

from typing import Final

from coscribe.ot.attributes import Attributes, same_attributes
from coscribe.ot.codec import encode
from coscribe.ot.components import Component, Components, Insert, Retain, units_of
from coscribe.ot.delta import Delta
from coscribe.ot.limits import OWN_LIMITS, DeltaTooLarge, InvalidDelta, Limits
from coscribe.ot.rope import BLOCK_SEGMENTS, SEGMENT_UNITS, Rope
from coscribe.ot.segments import SEGMENT_BYTES
from coscribe.ot.text import collapse, has_surrogates, is_low_surrogate


class Content:
    """The sizes are arguments so that tests can force many short segments."""

    __slots__ = ("_astral", "_rope", "_sizes")

    def __init__(
        self, delta: Delta | None = None, segment_units: int = SEGMENT_UNITS, block_segments: int = BLOCK_SEGMENTS
    ) -> None:
        document = Delta() if delta is None else delta
        if not document.is_document:
            raise InvalidDelta("a document only inserts")
        self._sizes: Final = (segment_units, block_segments)
        self._rope = Rope(document.components, segment_units, block_segments)
        # False: no text here has surrogates, so no delta can cut a pair and no place needs a look. Only ever set.
        self._astral = _has_astral(document)

    @staticmethod
    def from_delta(delta: Delta) -> "Content":
        """Raises InvalidDelta unless it only inserts."""
        return Content(delta)

    @property
    def length(self) -> int:
        return self._rope.length

    @property
    def burden(self) -> int:
        """About the bytes that it takes in memory."""
        return self._rope.length + self._rope.burden

    # --- Applying ---

    def check(self, delta: Delta, limits: Limits = OWN_LIMITS) -> None:
        """Raises InvalidDelta for a delta that this content cannot take, and DeltaTooLarge for one that would make it
        larger than the limits allow. An entry of the log is past the limits: it has been accepted."""
        by = delta.by
        # base_length, written out for the sake of plain ones.
        end = delta.at if by > 0 else delta.at - by if by else delta.base_length
        if end > self._rope.length:
            raise InvalidDelta("the delta runs past the end of the content")
        if self._astral and self._cuts_a_pair(delta):
            raise InvalidDelta("the delta cuts a surrogate pair")
        if limits is not OWN_LIMITS and by >= 0:
            self._check_growth(delta, limits)

    def _check_growth(self, delta: Delta, limits: Limits) -> None:
        """Deleting alone is always allowed."""
        rope = self._rope
        growth = delta.by or delta.length_change
        if growth > 0 and rope.length + growth > limits.document_units:
            raise DeltaTooLarge(f"a document may have at most {limits.document_units} UTF-16 units")
        if delta.by:
            burden = 2 * (SEGMENT_BYTES + rope.widest) + growth
        else:
            segments = rope.segment_count + 2
            burden = sum(self._burden_of(component, segments) for component in delta.components)
        if burden and rope.length + rope.burden + burden > limits.document_bytes:
            raise DeltaTooLarge(f"a document and its formats may take at most {limits.document_bytes} bytes")

    def _burden_of(self, component: Component, segments: int) -> int:
        """The bytes that a component adds at worst. It parts a segment at each of its ends, and a format is kept by
        each segment that it passes, of `segments` at most."""
        if isinstance(component, int):
            return 0
        parting = 2 * (SEGMENT_BYTES + self._rope.widest)
        if isinstance(component, str):
            return parting + len(component)
        attributes = component.attributes
        held = 0 if attributes is None else len(attributes.key)
        if isinstance(component, Retain):
            return parting + held * min(component.length, segments)
        return parting + held + (len(component.text) if isinstance(component, Insert) else len(component.key))

    def apply(self, delta: Delta) -> None:
        """Raises InvalidDelta, and then nothing has changed."""
        self.check(delta)
        by = delta.by
        if by > 0:
            text = delta.components[-1]
            assert isinstance(text, str), "by > 0 says that the last component is plain text"
            self._insert(delta.at, text, None)
        elif by < 0:
            self._rope.delete(delta.at, -by)
        else:
            self._apply_components(delta.components)

    def _apply_components(self, components: Components) -> None:
        rope = self._rope
        at = 0
        for component in components:
            if isinstance(component, int):
                if component > 0:
                    at += component
                else:
                    rope.delete(at, -component)
                continue
            if isinstance(component, str):
                self._insert(at, component, None)
            elif isinstance(component, Retain):
                rope.format(at, component.length, component.attributes)
            elif isinstance(component, Insert):
                self._insert(at, component.text, component.attributes)
            else:
                rope.insert_embed(at, component)
            at += units_of(component)

    def _insert(self, at: int, text: str, attributes: Attributes | None) -> None:
        if not text.isascii() and not self._astral:
            self._astral = has_surrogates(text)
        self._rope.insert(at, text, attributes)

    def _cuts_a_pair(self, delta: Delta) -> bool:
        """Where one component meets another is an edge in the base; a trailing plain retain has been dropped."""
        at = 0
        for component in delta.components:
            if self._inside_a_pair(at):
                return True
            if isinstance(component, (int, Retain)):
                at += units_of(component)
        return self._inside_a_pair(at)

    def _inside_a_pair(self, at: int) -> bool:
        return 0 < at < self._rope.length and is_low_surrogate(self._rope.unit(at))

    # --- The last newline ---

    @property
    def ends_with_newline(self) -> bool:
        return self._rope.length > 0 and self._rope.unit(self._rope.length - 1) == "\n"

    # --- Reading ---

    def delta(self) -> Delta:
        return Delta(tuple(self._runs()))

    def text(self) -> str:
        """In real characters; embeds have none and are skipped."""
        parts = [segment.text for block in self._rope.blocks for segment in block.segments if segment.embed is None]
        return collapse("".join(parts))

    def encode(self) -> bytes:
        """The compact JSON of its delta."""
        return encode(self.delta())

    def split(self, at: int) -> "Content":
        """Keeps [:at]; the answer is [at:]. Raises InvalidDelta inside a surrogate pair."""
        if not 0 <= at <= self._rope.length or (self._astral and self._inside_a_pair(at)):
            raise InvalidDelta("a split is inside the content, and not inside a surrogate pair")
        document = self.delta()
        self._rope = Rope(document.slice(0, at).components, *self._sizes)
        return Content(document.slice(at), *self._sizes)

    def _runs(self) -> list[Component]:
        """Segments of one format in a row, joined."""
        runs: list[Component] = []
        texts: list[str] = []
        attributes: Attributes | None = None
        for block in self._rope.blocks:
            for segment in block.segments:
                if texts and (segment.embed is not None or not same_attributes(segment.attributes, attributes)):
                    runs.append(_run(texts, attributes))
                    texts = []
                if segment.embed is not None:
                    runs.append(segment.embed)
                else:
                    attributes = segment.attributes
                    texts.append(segment.text)
        if texts:
            runs.append(_run(texts, attributes))
        return runs


def _run(texts: list[str], attributes: Attributes | None) -> Component:
    text = "".join(texts)
    return text if attributes is None else Insert(text, attributes)


def _has_astral(document: Delta) -> bool:
    for component in document.components:
        text = component.text if isinstance(component, Insert) else component
        if isinstance(text, str) and has_surrogates(text):
            return True
    return False
