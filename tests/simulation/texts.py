"""Documents and changes as the characters that are in them."""

from collections.abc import Iterator

from coscribe.ot import Delta, Embed, Insert, Retain


def units(document: Delta) -> str:
    """A document unit by unit: surrogates stand by themselves, an embed is one object replacement character."""
    return "".join(_texts(document))


def _texts(delta: Delta) -> Iterator[str]:
    for component in delta.components:
        match component:
            case str():
                yield component
            case Insert():
                yield component.text
            case Embed():
                yield "\ufffc"


def inserted(delta: Delta) -> str:
    """The characters that it inserts; embeds and astral characters as one each."""
    return collapse("".join(_texts(delta))).replace("\ufffc", "")


def deleted(delta: Delta, base: Delta) -> str:
    """The characters of `base` that it deletes."""
    text, at, gone = units(base), 0, ""
    for component in delta.components:
        if isinstance(component, Retain):
            at += component.length
        elif isinstance(component, int):
            gone += text[at : at - component] if component < 0 else ""
            at += abs(component)
    return collapse(gone)


def collapse(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
