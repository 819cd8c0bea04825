"""Access tokens: every claim that access rests on must be there and right, under our key and our algorithm alone."""

import base64
import json
import time
from typing import Any

import jwt
import pytest

from router.auth import LEEWAY_S, NAME_LENGTH, Identity, Tokens, Unauthenticated, clean_name, guest

SECRET = "a secret of the tests, long enough for " + "HS512" * 8
OTHER = "another secret, long enough for " + "HS512" * 8
TOKENS = Tokens(SECRET, "coscribe", "documents")
CLAIMS: dict[str, Any] = {
    "iss": "coscribe", "aud": "documents", "sub": "ann", "name": "Ann", "role": "writer", "jti": "1",
}  # fmt: skip


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims, with some changed, or left out where they are None."""
    now = int(time.time())
    wanted = {**CLAIMS, "iat": now, "exp": now + 600, **changed}
    return {name: value for name, value in wanted.items() if value is not None}


def signed(key: str = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=headers)


def by_hand(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(body).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def forged(of: str) -> str:
    """A good signature under another body."""
    header, _, signature = of.split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(sub="eve")).encode()).rstrip(b"=").decode()
    return f"{header}.{body}.{signature}"


NOW = int(time.time())

BAD: dict[str, str] = {
    "nothing": "",
    "no token": "hello",
    "two parts": "a.b",
    "not base64": "!.!.!",
    "NUL": "\0.\0.\0",
    "not ASCII": "\u00e9.\u00e9.\u00e9",
    "a body that is no JSON": by_hand({"alg": "HS256"}, {}).replace(".e30.", ".YQ."),
    "another key": signed(OTHER),
    "a changed body": forged(signed()),
    "no signature": signed().rsplit(".", 1)[0] + ".",
    "alg none": by_hand({"alg": "none", "typ": "JWT"}, claims()),
    "alg None": by_hand({"alg": "None", "typ": "JWT"}, claims()),
    "no alg": by_hand({"typ": "JWT"}, claims()),
    "HS384 under our key": signed(algorithm="HS384"),
    "HS512 under our key": signed(algorithm="HS512"),
    "RS256 by name": by_hand({"alg": "RS256", "typ": "JWT"}, claims(), b"x" * 256),
    "no expiry": signed(exp=None),
    "no time of issue": signed(iat=None),
    "no user": signed(sub=None),
    "an empty user": signed(sub=""),
    "no audience": signed(aud=None),
    "no issuer": signed(iss=None),
    "no id": signed(jti=None),
    "no role": signed(role=None),
    "another audience": signed(aud="payments"),
    "another issuer": signed(iss="somebody"),
    "another role": signed(role="admin"),
    "a role that is a list": signed(role=["writer"]),
    "a document that is a number": signed(document=7),
    "expired": signed(exp=NOW - LEEWAY_S - 5),
    "issued in the future": signed(iat=NOW + 3600),
    "not valid yet": signed(nbf=NOW + 3600),
    "an expiry that is a text": signed(exp="soon"),
    "an expiry that is endless": signed(exp=float("inf")),
    "an expiry that is no number": signed(exp=float("nan")),
    "an expiry that no frame can carry": signed(exp=10**30),
    "a claim that must be understood": signed(headers={"crit": ["exp"]}),
}
BAD["a user that is a number"] = by_hand({"alg": "HS256"}, claims(sub=7))


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_good_token(name: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        TOKENS.check(BAD[name])
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("role", ["reader", "writer", "owner"])
def test_a_good_one_says_who(role: str) -> None:
    expires = int(time.time()) + 60
    assert TOKENS.check(signed(role=role, exp=expires)) == Identity("ann", "Ann", role, expires)  # type: ignore[arg-type]


def test_one_audience_of_several_is_enough() -> None:
    assert TOKENS.check(signed(aud=["payments", "documents"])).user == "ann"


def test_it_may_be_for_one_document() -> None:
    assert TOKENS.check(signed(document="notes")).document == "notes"
    assert TOKENS.check(signed()).document is None


def test_a_name_is_shown_in_part_and_where_there_is_none_the_user_is() -> None:
    assert TOKENS.check(signed(name="x" * 500)).name == "x" * NAME_LENGTH
    names: list[Any] = [None, "", 7, {}]
    for name in names:
        assert TOKENS.check(signed(name=name)).name == "ann"


def test_clocks_may_differ_by_a_little() -> None:
    now = int(time.time())
    assert TOKENS.check(signed(exp=now - 1)).user == "ann"
    assert TOKENS.check(signed(iat=now + LEEWAY_S - 5)).user == "ann"


def test_what_is_minted_is_taken_by_the_same_and_by_no_other() -> None:
    now = int(time.time())
    identity = Identity("ann", "Ann", "owner", None, "notes")
    token = TOKENS.mint(identity, now, 600)
    assert TOKENS.check(token) == Identity("ann", "Ann", "owner", now + 600, "notes")
    assert TOKENS.mint(identity, now, 600) != token
    for other in (Tokens(OTHER, "coscribe", "documents"), Tokens(SECRET, "x", "documents"), Tokens(SECRET, "x", "y")):
        with pytest.raises(Unauthenticated):
            other.check(token)


def test_a_short_secret_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        Tokens("short", "coscribe", "documents")


def test_each_guest_is_somebody_else() -> None:
    one, other = guest("Ann"), guest("Ann")
    assert one.user != other.user
    assert (one.name, one.role, one.expires) == ("Ann", "writer", None)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("  Ann \n", "Ann"), ("A\0n\x1bn\u2028", "Ann"), ("\u202eAnn", "Ann"), ("x" * 500, "x" * NAME_LENGTH),
        ("\n\t", ""), ("\u00c5sa \U0001f600", "\u00c5sa \U0001f600"), ("A\ud800", "A"),
    ],
)  # fmt: skip
def test_a_name_as_it_may_be_shown(given: str, shown: str) -> None:
    assert clean_name(given) == shown
