"""Operational transformation on Quill deltas: pure, positions in UTF-16 code units."""

from coscribe.ot.attributes import Attributes
from coscribe.ot.codec import decode, encode
from coscribe.ot.components import Component, Components, Embed, Insert, Retain
from coscribe.ot.content import Content
from coscribe.ot.delta import Delta, compose_all
from coscribe.ot.history import History
from coscribe.ot.limits import DEFAULT_LIMITS, OWN_LIMITS, DeltaTooLarge, InvalidDelta, Limits
from coscribe.ot.mainline import Mainline

__all__ = [
    "DEFAULT_LIMITS",
    "OWN_LIMITS",
    "Attributes",
    "Component",
    "Components",
    "Content",
    "Delta",
    "DeltaTooLarge",
    "Embed",
    "History",
    "Insert",
    "InvalidDelta",
    "Limits",
    "Mainline",
    "Retain",
    "compose_all",
    "decode",
    "encode",
]
