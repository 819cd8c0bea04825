"""Who is here, for those who come later, and whose client ids are whose. Everything expires by the server's time."""

from collections.abc import Sequence
from typing import Final

from persistence import keys
from persistence.script import Script
from persistence.script_calls import ScriptCalls

CLIENT_ID_MS: Final = 7 * 24 * 3_600_000


class RedisRoster:
    """The newest presence of each client of a document. The line stays its owner's to close.

    Every method raises Unavailable."""

    def __init__(self, calls: ScriptCalls) -> None:
        self._calls = calls
        self._set = Script("presence_set")
        self._keep = Script("presence_keep")
        self._all = Script("presence_all")
        self._claim = Script("client_claim")

    async def set(
        self, document: str, incarnation: str, client: str, encoded: bytes | None, ttl_ms: int, message: bytes
    ) -> Sequence[str]:
        """Remember a client's presence (None: it left) and publish `message` on the document's presence channel.

        Returns clients that were forgotten because their time was over, for whoever wants to say so."""
        present = int(encoded is not None)
        arguments = (client, present, encoded or b"", ttl_ms, keys.presence(document, incarnation), message)
        gone = await self._calls.call(self._set, keys.roster(document, incarnation), arguments)
        return [client.decode() for client in gone]

    async def keep(self, document: str, incarnation: str, clients: Sequence[str], ttl_ms: int) -> Sequence[str]:
        """Let the presences of these clients live on; returns those that are not there any more."""
        missing = await self._calls.call(self._keep, keys.roster(document, incarnation), (ttl_ms, *clients))
        return [client.decode() for client in missing]

    async def all(self, document: str, incarnation: str) -> dict[str, bytes]:
        found = await self._calls.call(self._all, keys.roster(document, incarnation), ())
        return {client.decode(): encoded for client, encoded in zip(found[::2], found[1::2], strict=True)}

    async def claim_client(self, document: str, incarnation: str, client_id: str, user: str) -> str:
        """The user to whom the client id belongs: this one, if it was free; free again when unused for 7 days."""
        key = keys.client(document, incarnation, client_id)
        owner: bytes = await self._calls.call(self._claim, (key,), (user, CLIENT_ID_MS))
        return owner.decode()
