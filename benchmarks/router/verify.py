"""At the end of every run: is all that was promised in the log, once, and does everyone have the same?"""

from typing import Any

from benchmarks.failover.audit import Verdict, judge, read_log
from benchmarks.router.crowd import Client, Crowd
from benchmarks.router.full import FullClient
from benchmarks.router.light import LightClient
from benchmarks.router.pinned import Pinned
from coscribe.ot import Delta


async def verify(pinned: Pinned, crowd: Crowd) -> Verdict:
    """Of a crowd that has settled. A light client has no copy: it diverges if its length or revision does."""
    found = Verdict(0, 0, 0)
    rooms: dict[str, list[Client]] = {}
    for client in crowd.clients:
        rooms.setdefault(client.document, []).append(client)
    for document, clients in rooms.items():
        entries = await read_log(document, pinned.store, pinned.log)
        acked = {operation: revision for client in clients for operation, revision in client.acked.items()}
        served = await _served(pinned, document)
        copies = [served, *(client.session.content() for client in clients if isinstance(client, FullClient))]
        of = judge(entries, acked, copies)
        astray = sum(
            bool(client.tears) or (client.revision, client.length) != (len(entries), served.length)
            for client in clients
            if isinstance(client, LightClient)
        )
        found = Verdict(found.acked_lost + of.acked_lost, found.doubled + of.doubled,
                        found.diverged + of.diverged + astray)  # fmt: skip
    return found


async def _served(pinned: Pinned, document: str) -> Delta:
    """What the router says to who reads over HTTP."""
    url = f"{pinned.system.url}/v1/documents/{document}"
    async with pinned.http.get(url, headers={"Authorization": f"Bearer {pinned.token}"}) as response:
        response.raise_for_status()
        body: dict[str, Any] = await response.json()
    return Delta.from_quill(body["delta"])
