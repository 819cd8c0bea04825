"""What each step of an edit's way through router and host costs, and each send behind it, in µs of CPU.

The product's own classes, each step by itself and hot, without Redis; so this says where the time of one process goes,
not how fast the whole is. Two lines go through sockets on loopback: reading frames by aiohttp, and sending.

python -m benchmarks.steps
python -m benchmarks.steps --json
"""

import asyncio
import base64
import multiprocessing
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final, cast

import uvloop
from aiohttp import web
from hiredis import pack_command

from benchmarks.report import Figure, parser, show
from coscribe import link
from coscribe.batch import Batch
from coscribe.names import SectionKey
from coscribe.ot import Limits
from coscribe.protocol import WireLimits
from coscribe.section import Prepared, Section, Submission, WindowLimits, newborn
from persistence.log import commit_arguments
from router.run import Run
from tests.router.bench import CHANNEL, KEY, Bench, Tab, bench

ROUNDS: Final = 7
EDITS: Final = 2_000  # in a round
TOGETHER: Final = 20  # edits in a batch of a busy document
SOCKETS: Final = 200
CLIENT: Final = "k3V9s0aQ1bZx"
WIRE: Final = WireLimits(frame_bytes=1 << 20, op_bytes=1 << 18, presence_bytes=4096, ops_per_s=10**9)


def measured(work: Callable[[], int]) -> float:
    """Median µs of CPU for one of what `work` says that it did."""
    costs = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        count = work()
        costs.append((time.thread_time() - began) / count * 1e6)
    return sorted(costs)[ROUNDS // 2]


# --- Router, towards the owner ---


def op_frame(cseq: int, base: int = 0) -> str:
    return f'{{"t":"op","s":"0","base":{base},"cseq":{cseq},"delta":[7,"x"]}}'


async def joined(b: Bench) -> Tab:
    tab = await b.join(CLIENT)
    while not tab.connection.places:
        await asyncio.sleep(0.01)
    return tab


async def taken_by_the_router(b: Bench) -> float:
    """From the text of a frame to the queue of the link."""
    tab = await joined(b)
    b.host.silent = (link.Submit,)
    cseq = 0

    def take() -> int:
        nonlocal cseq
        for _ in range(EDITS):
            cseq += 1
            tab.connection.receive(op_frame(cseq))
        return EDITS

    costs = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        count = take()
        costs.append((time.thread_time() - began) / count * 1e6)
        await asyncio.sleep(0.01)  # the link sends
        b.host.received.clear()
    return sorted(costs)[ROUNDS // 2]


def submits(count: int) -> list[link.ToHost]:
    return [link.Submit(KEY, number, CLIENT, 1, 0, "ann", "writer", b'[7,"x"]') for number in range(count)]


def link_costs() -> tuple[float, float]:
    """Encoding and decoding an operation in a frame of `TOGETHER`."""
    frame = link.HostFrame(3, submits(TOGETHER))
    encoded = link.encode(frame)

    def write() -> int:
        for _ in range(EDITS // TOGETHER):
            link.encode(frame)
        return EDITS

    def read() -> int:
        for _ in range(EDITS // TOGETHER):
            link.decode_host_frame(encoded)
        return EDITS

    return measured(write), measured(read)


# --- Owner ---


class Owner:
    """A section that is typed into by many, all of whom have read all but the last batch."""

    def __init__(self, together: int) -> None:
        self.section = Section(SectionKey("notes", "life1", "0"), 1, newborn(), Limits(), WindowLimits())
        self.together = together
        self.batches: list[Batch] = []
        self._cseq = 0
        self._behind = 0

    def prepare(self) -> int:
        base = self._behind
        for number in range(self.together):
            self._cseq += 1
            position = b"%d," % min(7, base) if base else b""
            op = Submission(f"client-{number:04}", self._cseq, base, "ann", "writer", b'[%s"x"]' % position)
            assert isinstance(self.section.submit(op, self._cseq), Prepared), "it is accepted"
        return self.together

    def commit(self) -> int:
        self._behind = self.section.committed_revision
        batch = self.section.freeze("0123456789abcdef")
        assert batch is not None, "something was prepared"
        self.section.committed()
        self.batches.append(batch)
        return self.together


def owner_costs(together: int) -> tuple[float, float, float]:
    """Preparing an operation, its share of a batch, and of packing that for Redis."""
    owner = Owner(together)
    spent = [0.0, 0.0, 0.0]
    for _ in range(ROUNDS * EDITS // together):
        for step, work in enumerate((owner.prepare, owner.commit)):
            began = time.thread_time()
            work()
            spent[step] += time.thread_time() - began
        batch = owner.batches.pop()
        began = time.thread_time()
        pack_command(("EVALSHA", "0" * 40, 2, "meta", "stream", *commit_arguments(batch, CHANNEL)))  # type: ignore[arg-type]
        spent[2] += time.thread_time() - began
    prepare, commit, pack = (seconds / (ROUNDS * EDITS) * 1e6 for seconds in spent)
    return prepare, commit, pack


# --- Router, towards the clients ---


async def published_to_an_empty_room(b: Bench, together: int) -> float:
    """Reading a batch and keeping it for those who resume; what a round costs beside its sends."""
    await joined(b)
    room = b.room
    room.members.clear()
    owner = Owner(together)
    batches = []
    for _ in range(ROUNDS * EDITS // together):
        owner.prepare()
        owner.commit()
        batches.append(owner.batches.pop().published)
    waiting = iter(batches)

    def publish() -> int:
        for _ in range(EDITS // together):
            room.published(next(waiting))
        return EDITS // together * together

    return measured(publish)


def _drain(port: int, count: int) -> None:
    """A process that reads from many sockets and does nothing else."""
    lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    by_number = {line.fileno(): line for line in lines}
    poll = select.epoll()
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            if not by_number[number].recv(1 << 16):
                os._exit(0)


def _written(transport: asyncio.Transport, frame: bytes) -> bool:
    transport.write(frame)
    return True


async def send_cost(size: int) -> float:
    """One frame to one of many sockets that are read at once, as a round sends it."""
    loop = asyncio.get_running_loop()
    transports: list[asyncio.Transport] = []

    class Sink(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transports.append(cast(asyncio.Transport, transport))

    server = await loop.create_server(Sink, "127.0.0.1", 0)
    reader = multiprocessing.get_context("spawn").Process(
        target=_drain, args=(server.sockets[0].getsockname()[1], SOCKETS)
    )
    reader.start()
    while len(transports) < SOCKETS:
        await asyncio.sleep(0.05)
    costs = []
    async with bench(limits=WIRE) as b:
        connection = (await joined(b)).connection
        for _ in range(ROUNDS * 3):
            run = Run(b"x" * size, last=1)
            began = time.thread_time()
            for transport in transports:
                connection.write = partial(_written, transport)
                connection.tell(run)
            costs.append((time.thread_time() - began) / SOCKETS * 1e6)
            await asyncio.sleep(0.02)
    for transport in transports:
        transport.close()
    server.close()
    await asyncio.to_thread(reader.join)
    return sorted(costs)[len(costs) // 2]


def _type_into(port: int, count: int) -> None:
    """A process that opens a WebSocket and sends so many frames as fast as it can."""
    line = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    line.sendall(
        f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    line.recv(4096)
    text = op_frame(1).encode()
    mask = b"\1\2\3\4"
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))
    frame = bytes((0x81, 0x80 | len(text))) + mask + masked
    for _ in range(count):
        line.sendall(frame)
        time.sleep(0)  # one packet each, as from many clients
    line.recv(4096)


async def read_cost() -> float:
    """aiohttp's part of a frame: the kernel's read, the parser, the queue, and the task that takes it."""
    count = 20_000
    found: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def accept(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        await ws.receive()
        began = time.thread_time()
        for _ in range(count - 1):
            await ws.receive()
        found.set_result((time.thread_time() - began) / (count - 1) * 1e6)
        await ws.close()
        return ws

    app = web.Application()
    app.router.add_get("/", accept)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    writer = multiprocessing.get_context("spawn").Process(target=_type_into, args=(runner.addresses[0][1], count))
    writer.start()
    cost = await found
    await asyncio.to_thread(writer.join)
    await runner.cleanup()
    return cost


# --- All ---


async def figures() -> list[Figure]:
    async with bench(limits=WIRE, user_ops_per_s=1e9, document_ops_per_s=1e9) as b:
        taken = await taken_by_the_router(b)
    link_out, link_in = link_costs()
    prepare_1, commit_1, pack_1 = owner_costs(1)
    prepare, commit, pack = owner_costs(TOGETHER)
    async with bench(limits=WIRE) as b:
        published_1 = await published_to_an_empty_room(b, 1)
    async with bench(limits=WIRE) as b:
        published = await published_to_an_empty_room(b, TOGETHER)
    return [
        Figure("read_us", await read_cost(), "router: a frame is read (aiohttp, kernel)"),
        Figure("take_us", taken, "router: decoded, checked, put on the link"),
        Figure("link_out_us", link_out, f"router: encoded in a link frame of {TOGETHER}"),
        Figure("link_in_us", link_in, "host: decoded there"),
        Figure("prepare_alone_us", prepare_1, "host: checked, applied, numbered; nobody else types"),
        Figure("prepare_us", prepare, f"host: the same, transformed over {TOGETHER} to {2 * TOGETHER - 1} others"),
        Figure("batch_alone_us", commit_1, "host: frozen as a batch by itself, and committed"),
        Figure("batch_us", commit, f"host: the same in a batch of {TOGETHER}"),
        Figure("pack_alone_us", pack_1, "host: packed for Redis, a batch by itself"),
        Figure("pack_us", pack, f"host: the same in a batch of {TOGETHER}"),
        Figure("publish_alone_us", published_1, "router: read from pub/sub and kept, a batch by itself"),
        Figure("publish_us", published, f"router: the same in a batch of {TOGETHER}"),
        Figure("send_us", await send_cost(200), "router: one frame of 200 bytes to one client"),
        Figure("send_long_us", await send_cost(6_000), "router: the same, 6,000 bytes"),
    ]


def main() -> int:
    given = parser("steps", __doc__ or "").parse_args()
    found = [Figure(each.key, round(each.value, 2), each.words) for each in uvloop.run(figures())]
    show("Steps, in µs of CPU", found, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
