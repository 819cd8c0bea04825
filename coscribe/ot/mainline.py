"""What an owner's engine holds of a section: the content at the newest revision, and the entries that led there.

Pure; prosemirror-collab calls this the authority, Fluid the sequencer. Accepting is all or nothing.
"""

from typing import Final

from coscribe.ot.content import Content
from coscribe.ot.delta import Delta
from coscribe.ot.history import History
from coscribe.ot.limits import OWN_LIMITS, Limits


class Mainline:
    """`content` is at the revision of `history`. The entries before the window are in the content alone."""

    __slots__ = ("content", "history")

    def __init__(self, content: Content, history: History) -> None:
        self.content: Final = content
        self.history: Final = history

    def accept(self, delta: Delta, base: int, limits: Limits = OWN_LIMITS) -> Delta:
        """Takes an operation that was made at revision `base` of the window; answers with what it is at the newest, and
        that is the next entry. Raises InvalidDelta or DeltaTooLarge, and then nothing has changed."""
        history = self.history
        if base != history.revision:
            delta = history.rebase(delta, base)
        self.content.apply(delta, limits)
        history.append(delta)
        return delta
