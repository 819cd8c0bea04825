"""Replay a recorded editing history through real sockets, and check that every copy ends as it must.

    python -m loadtests.replay traces/sveltecomponent.json.gz
    python -m loadtests.replay traces/friendsforever.json.gz --speed 50
    python -m loadtests.replay traces/sveltecomponent.json.gz --clients 3 --json
    python -m loadtests.replay traces/sveltecomponent.json.gz --document ID --check

One author's history is typed by one client, or by several in turns (--clients); a history of two authors at once by
two clients, each as its author did. One more client only reads. At the end the typing clients, the reader and
`GET /v1/documents/{id}` are compared with the recording, and every revision of the log must be the acknowledgement of
one operation. Of two authors at once only the default speed gives the recorded text: positions were recorded against a
merge whose order of what was typed at one place depends on who came first. Exit code 0: passed; 1: failed; 2: it could
not be run.
"""

import argparse
import asyncio
import json
import math
import secrets
import statistics
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from coscribe.client import Closed, DocumentClient
from coscribe.ot import Delta
from coscribe.session import Changed, Event
from loadtests.author import PATIENCE_S, Author, Ledger, ReplayError
from loadtests.traces import Trace, TraceError, read_trace

DEFAULT_URL: Final = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Result:
    """What a replay found. Times in milliseconds."""

    trace: str
    at_once: bool  # two authors at one time: where they typed at one place, either order is right
    document: str
    transactions: int
    operations: int
    seconds: float
    ack_p50_ms: float
    ack_p99_ms: float
    visible_p50_ms: float
    visible_p99_ms: float
    reconnects: int
    copies_equal: bool
    as_recorded: bool
    every_operation_once: bool

    @property
    def passed(self) -> bool:
        return self.copies_equal and self.every_operation_once and (self.as_recorded or self.at_once)


async def token_for(http: aiohttp.ClientSession, url: str, name: str) -> str:
    """A guest's token. Raises ReplayError where guests are not let in."""
    async with http.post(f"{url}/v1/auth/guest", params={"token": "1"}, json={"name": name}) as response:
        body = await response.json(content_type=None)
        if response.status != 201:
            raise ReplayError(f"no guest token ({body.get('detail')}): give one with --token")
        token: str = body["token"]
        return token


async def read_document(http: aiohttp.ClientSession, url: str, document: str, token: str) -> Delta:
    """The document as the HTTP API gives it."""
    headers = {"Authorization": f"Bearer {token}"}
    async with http.get(f"{url}/v1/documents/{document}", headers=headers) as response:
        body: dict[str, Any] = await response.json(content_type=None)
        if response.status != 200:
            raise ReplayError(f"GET of the document answered {response.status}: {body.get('detail')}")
        return Delta.from_quill(body["delta"])


def in_turns(trace: Trace, clients: int) -> Trace:
    """One author's history as several would have typed it, each having seen all that came before."""
    if clients == 1 or trace.authors > 1:
        return trace
    typed, steps = [0] * clients, []
    for index, step in enumerate(trace.steps):
        author = index % clients
        steps.append(replace(step, author=author, seen=tuple(typed)))
        typed[author] += 1
    return replace(trace, authors=clients, steps=tuple(steps))


class Replay:
    """One run of one trace against one running system."""

    def __init__(
        self, trace: Trace, url: str, document: str, token: str | None, speed: float | None, bar: Progress
    ) -> None:
        self._trace, self._url, self._document, self._token, self._speed = trace, url, document, token, speed
        self._bar = bar
        self._ledger = Ledger()

    async def run(self) -> Result:
        """Type everything, then compare. Raises ReplayError, Closed, TimeoutError."""
        task = self._bar.add_task(self._trace.name, total=len(self._trace.steps))
        authors = [
            Author(self._trace, number, self._ledger, self._speed, lambda: self._bar.advance(task))
            for number in range(self._trace.authors)
        ]
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            reader = await stack.enter_async_context(await self._client(http, "reader", self._reader_saw))
            clients = [
                await stack.enter_async_context(await self._client(http, f"author {number}", author.on_event))
                for number, author in enumerate(authors)
            ]
            everyone = [*clients, reader]
            for client in everyone:
                await client.joined()
            if reader.session.revision() > 0:
                raise ReplayError(f"document {self._document} is not new: a replay needs an empty one")
            started = time.perf_counter()
            await asyncio.gather(*(author.type(client) for author, client in zip(authors, clients, strict=True)))
            seconds = time.perf_counter() - started
            last = max(client.session.revision() for client in clients)
            for client in everyone:
                await client.wait_for(lambda client=client: client.session.revision() >= last)  # type: ignore[misc]
            token = self._token or await token_for(http, self._url, "checker")
            copies = [*(client.content for client in everyone)]
            copies.append(await read_document(http, self._url, self._document, token))
            return self._result(seconds, last, copies, sum(client.connects - 1 for client in everyone))

    async def _client(self, http: aiohttp.ClientSession, name: str, on_event: Any) -> DocumentClient:
        token = self._token or await token_for(http, self._url, name)
        return DocumentClient(http, self._url, self._document, token=token, on_event=on_event)

    def _reader_saw(self, event: Event) -> None:
        if isinstance(event, Changed):
            self._ledger.seen(event.source)

    def _result(self, seconds: float, last: int, copies: list[Delta], reconnects: int) -> Result:
        end = self._trace.end
        ledger = self._ledger
        return Result(
            self._trace.name, self._trace.at_once, self._document, len(self._trace.steps), len(ledger.revisions),
            round(seconds, 3), *_percentiles_ms(ledger.ack_s), *_percentiles_ms(ledger.visible_s), reconnects,
            copies_equal=all(copy == copies[0] for copy in copies),
            as_recorded=all(copy == end for copy in copies),
            every_operation_once=sorted(ledger.revisions) == list(range(1, last + 1)),
        )  # fmt: skip


def _percentiles_ms(seconds: list[float]) -> tuple[float, float]:
    if len(seconds) < 2:
        return (0.0, 0.0)
    cuts = statistics.quantiles(seconds, n=100)
    return round(cuts[49] * 1000, 2), round(cuts[98] * 1000, 2)


async def check(trace: Trace, url: str, document: str, token: str | None) -> bool:
    """Whether a document that was replayed before still is as recorded, over a socket and over HTTP."""
    async with aiohttp.ClientSession() as http:
        token = token or await token_for(http, url, "checker")
        async with DocumentClient(http, url, document, token=token) as client:
            await client.joined()
            return client.content == trace.end == await read_document(http, url, document, token)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    console = Console(stderr=True)
    try:
        trace = in_turns(read_trace(options.trace), options.clients)
        if options.check:
            same = uvloop.run(check(trace, options.url, options.document, options.token))
            console.print("as recorded" if same else "[red]not as recorded")
            return 0 if same else 1
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            replay = Replay(trace, options.url, options.document, options.token, options.speed, bar)
            result = uvloop.run(replay.run())
    except (TraceError, ReplayError, Closed, TimeoutError, aiohttp.ClientError) as error:
        words = str(error) or f"nothing moved for {PATIENCE_S:.0f} s"
        console.print(f"[red]Cannot replay:[/red] {words}")
        return 2
    _show(result, console)
    if options.json:
        print(json.dumps(asdict(result) | {"passed": result.passed}))
    return 0 if result.passed else 1


def _show(result: Result, console: Console) -> None:
    rate = result.operations / result.seconds if result.seconds else 0.0
    console.print(
        f"{result.transactions} transactions in {result.operations} operations, {result.seconds:.1f} s "
        f"({rate:.0f}/s), {result.reconnects} reconnects"
    )
    console.print(f"edit to ack      p50 {result.ack_p50_ms} ms   p99 {result.ack_p99_ms} ms")
    console.print(f"edit to visible  p50 {result.visible_p50_ms} ms   p99 {result.visible_p99_ms} ms")
    for name, holds in (
        ("every copy is equal", result.copies_equal),
        ("every operation is in the log once", result.every_operation_once),
        ("the text is the recorded one", result.as_recorded),
    ):
        console.print(f"{'[green]yes' if holds else '[red]no '}[/]  {name}")
    console.print(f"document {result.document}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trace", type=Path, help="a .json or .json.gz history")
    parser.add_argument("--url", default=DEFAULT_URL, help=f"address of a router (default {DEFAULT_URL})")
    parser.add_argument("--document", default=secrets.token_urlsafe(9), help="document id (default: a new one)")
    parser.add_argument("--token", help="access token (default: that of a guest)")
    parser.add_argument(
        "--speed",
        type=_speed,
        help="times the recorded pace, or `max`: no pauses, edits join while one is in flight; by default each "
        "transaction is an operation of its own and waits for the acknowledgement of the one before",
    )
    parser.add_argument("--clients", type=int, default=1, help="clients that type one author's history in turns")
    parser.add_argument("--check", action="store_true", help="type nothing: is --document still as recorded?")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, last on stdout")
    options = parser.parse_args(arguments)
    if options.clients < 1:
        parser.error("--clients is at least 1")
    return options


def _speed(text: str) -> float:
    speed = math.inf if text == "max" else float(text)
    if not speed > 0:
        raise argparse.ArgumentTypeError("a number above 0, or max")
    return speed


if __name__ == "__main__":
    sys.exit(main())
