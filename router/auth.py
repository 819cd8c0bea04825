"""Who is at the other end: signed tokens, from a cookie or a bearer header. Pure but for the clock it is given.

Tokens are JWT (PyJWT), HS256 under one shared secret. Every claim that access rests on is required: a token without
an expiry is no token.
"""

import secrets
from dataclasses import dataclass
from typing import Final

import jwt

from coscribe.protocol import Role

ALGORITHM: Final = "HS256"
COOKIE: Final = "coscribe_access"
LEEWAY_S: Final = 10
LATEST_EXPIRY: Final = 2**53 - 1  # Unix seconds; clients are told in JSON
NAME_LENGTH: Final = 80
_ROLES: Final = ("reader", "writer", "owner")


class Unauthenticated(Exception):
    """There is no valid token. The text may be shown."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and what the token lets them do. `expires` is Unix time in seconds, None: not while the socket lives.

    `document` limits the token to one document, None: to all that the user may open."""

    user: str
    name: str
    role: Role
    expires: int | None
    document: str | None = None


class Tokens:
    """Mints and checks access tokens."""

    def __init__(self, secret: str, issuer: str, audience: str) -> None:
        assert len(secret) >= 32, "a secret for HS256 has 32 characters at least"
        self._secret, self._issuer, self._audience = secret, issuer, audience

    def mint(self, identity: Identity, now: int, lifetime_s: int) -> str:
        claims = {
            "iss": self._issuer, "aud": self._audience, "sub": identity.user, "name": identity.name,
            "role": identity.role, "iat": now, "exp": now + lifetime_s, "jti": secrets.token_urlsafe(12),
        }  # fmt: skip
        if identity.document is not None:
            claims["document"] = identity.document
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def check(self, token: str) -> Identity:
        """Raises Unauthenticated."""
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=[ALGORITHM], audience=self._audience, issuer=self._issuer,
                leeway=LEEWAY_S, options={"require": ["exp", "iat", "sub", "aud", "iss", "jti"]},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not valid: {error}") from None
        user, role, document = claims["sub"], claims.get("role"), claims.get("document")
        if not isinstance(user, str) or not user or role not in _ROLES:
            raise Unauthenticated("the token names no user or no role")
        if document is not None and not isinstance(document, str):
            raise Unauthenticated("the token's document is not a text")
        if int(claims["exp"]) > LATEST_EXPIRY:
            raise Unauthenticated("the token expires at no time that could be said")
        name = claims.get("name")
        shown = name[:NAME_LENGTH] if isinstance(name, str) and name else user[:NAME_LENGTH]
        return Identity(user, shown, role, int(claims["exp"]), document)


def guest(name: str) -> Identity:
    """A guest: a new user under the name they chose."""
    return Identity(f"guest-{secrets.token_urlsafe(12)}", clean_name(name), "writer", None)


def clean_name(name: str) -> str:
    """A name as it may be shown: one line, no control characters, bounded."""
    return "".join(character for character in name if character.isprintable()).strip()[:NAME_LENGTH]
