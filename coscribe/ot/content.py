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
    """With `keeps_newline` it refuses what would leave it without its final newline, as the last section of a document
    does. The sizes are arguments so that tests can force many short segments."""

    __slots__ = ("_astral", "_limits", "_room", "_rope", "_sizes", "keeps_newline")

    def __init__(
        self, delta: Delta | None = None, segment_units: int = SEGMENT_UNITS, block_segments: int = BLOCK_SEGMENTS
    ) -> None:
        document = Delta() if delta is None else delta
        if not document.is_document:
            raise InvalidDelta("a document only inserts")
        self.keeps_newline = False
        self._sizes: Final = (segment_units, block_segments)
        self._rope = Rope(document.components, segment_units, block_segments)
        # False: no text here has surrogates, so no delta can cut a pair and no place needs a look. Only ever set.
        self._astral = _has_astral(document)
        # So many units of plain text may come in before `_limits` need another look.
        self._room = 0
        self._limits = OWN_LIMITS

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

    def apply(self, delta: Delta, limits: Limits = OWN_LIMITS) -> None:
        """Raises what `check` does, and then nothing has changed."""
        at = delta.at
        by = delta.by
        rope = self._rope
        if by > 0:
            # Most operations are such, and nearly all of them need no more than this.
            if at >= rope.length or by > self._room or limits is not self._limits or self._astral:
                self.check(delta, limits)
            self._room -= by
            text = delta.typed
            if not (text < "\x80" if by == 1 else text.isascii()):
                self._look_for_astral(text)
            rope.insert(at, text, None)
        elif by < 0:
            if at - by >= rope.length or self._astral:
                self.check(delta, limits)
            rope.delete(at, -by)
        else:
            self.check(delta, limits)
            self._apply_components(delta.components)
            self._room = 0

    def check(self, delta: Delta, limits: Limits = OWN_LIMITS) -> None:
        """Raises InvalidDelta for a delta that this content cannot take, and DeltaTooLarge for one that would make it
        larger than the limits allow. An entry of the log is past the limits: it has been accepted."""
        rope = self._rope
        end = delta.base_length
        if end > rope.length:
            raise InvalidDelta("the delta runs past the end of the content")
        if self._astral and self._cuts_a_pair(delta):
            raise InvalidDelta("the delta cuts a surrogate pair")
        if self.keeps_newline and end == rope.length and delta.components:
            _check_ending(delta.components[-1])
        if delta.by > 0:
            self._look_for_room(limits)
        if delta.by > max(0, self._room) or (delta.by == 0 and limits is not OWN_LIMITS):
            self._check_growth(delta.components, limits)

    def _look_for_room(self, limits: Limits) -> None:
        """A unit of plain text that comes in alone parts a segment in two, whose attributes both then have."""
        rope = self._rope
        units = limits.document_units - rope.length
        count = limits.document_bytes - rope.length - rope.burden
        self._room = min(units, count // (1 + 2 * (SEGMENT_BYTES + rope.widest)))
        self._limits = limits

    def _check_growth(self, components: Components, limits: Limits) -> None:
        """Deleting alone is always allowed. The bytes are what is added at worst: a component parts a segment at each
        of its ends, and a format is kept by each segment that it passes."""
        rope = self._rope
        parting = 2 * (SEGMENT_BYTES + rope.widest)
        segments = rope.segment_count + 2
        growth = burden = 0
        for component in components:
            if isinstance(component, int):
                if component < 0:
                    growth += component
                continue
            units = units_of(component)
            burden += parting
            if isinstance(component, str):
                growth += units
                burden += units
                continue
            attributes = component.attributes
            held = 0 if attributes is None else len(attributes.key)
            if isinstance(component, Retain):
                burden += held * min(units, segments)
                continue
            growth += units
            burden += held + (units if isinstance(component, Insert) else len(component.key))
        if growth > 0 and rope.length + growth > limits.document_units:
            raise DeltaTooLarge(f"a document may have at most {limits.document_units} UTF-16 units")
        if burden and rope.length + rope.burden + burden > limits.document_bytes:
            raise DeltaTooLarge(f"a document and its formats may take at most {limits.document_bytes} bytes")

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
                self._look_for_astral(component)
                rope.insert(at, component, None)
            elif isinstance(component, Retain):
                rope.format(at, component.length, component.attributes)
            elif isinstance(component, Insert):
                self._look_for_astral(component.text)
                rope.insert(at, component.text, component.attributes)
            else:
                rope.insert_embed(at, component)
            at += units_of(component)

    def _look_for_astral(self, text: str) -> None:
        if not self._astral and not text.isascii():
            self._astral = has_surrogates(text)

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
        parts = [segment.text for segment in self._rope.segments() if segment.embed is None]
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
        for segment in self._rope.segments():
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


def _check_ending(last: Component) -> None:
    """Of a delta that reaches the end of the content. The final newline may not even be replaced: transformed over
    another's insert before it, the new one would no longer stand at the end."""
    if isinstance(last, int) and last < 0:
        raise InvalidDelta("the final newline cannot be deleted")
    if isinstance(last, (int, Retain)):
        return
    text = last.text if isinstance(last, Insert) else last
    if not isinstance(text, str) or not text.endswith("\n"):
        raise InvalidDelta("the document must end with a newline")


def _run(texts: list[str], attributes: Attributes | None) -> Component:
    text = "".join(texts)
    return text if attributes is None else Insert(text, attributes)


def _has_astral(document: Delta) -> bool:
    for component in document.components:
        text = component.text if isinstance(component, Insert) else component
        if isinstance(text, str) and has_surrogates(text):
            return True
    return False
