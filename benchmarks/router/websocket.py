"""The client's side of RFC 6455, as far as a load generator needs it, on asyncio.Protocol.

A load generator on one core has to be cheaper than the server that it loads, and a library's client costs as much for
each frame as the server does. So this frames by hand: no extensions, no fragments, a frame is handed on as the bytes
that came. Every byte that came is counted, headers and handshake included. Nothing else should be built on it.
"""

import asyncio
import base64
import hashlib
import os
import struct
from collections.abc import Callable
from typing import Final, Protocol, cast

from coscribe.protocol import SUBPROTOCOLS

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_FINAL: Final = 0x80
ABNORMAL: Final = 1006

Count = Callable[[int], None]


class Listener(Protocol):
    """Who has the socket."""

    def opened(self, socket: "WebSocket") -> None: ...

    def receive(self, frame: bytes) -> None: ...

    def closed(self, code: int, reason: bytes) -> None:
        """Once, whether or not `opened` was called."""


class NotAFrame(Exception):
    """The server said what this client cannot read."""


class WebSocket(asyncio.Protocol):
    """One connection. `count` is told of the bytes that came."""

    def __init__(self, listener: Listener, count: Count, path: str, host: str, token: str) -> None:
        key = base64.b64encode(os.urandom(16))
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {', '.join(SUBPROTOCOLS)}\r\nAuthorization: Bearer {token}\r\n\r\n"
        ).encode()
        self._accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self._listener, self._count = listener, count
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._open = False
        self._end: tuple[int, bytes] = (ABNORMAL, b"")
        self._mask = os.urandom(4)  # one for the whole connection: unmasking costs the server the same

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self._transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport, self._open = None, False
        self._listener.closed(*self._end)

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, payload: bytes) -> None:
        self._write(_TEXT, payload)

    def close(self) -> None:
        """Say goodbye; the server's answer ends the connection."""
        self._write(_CLOSE, struct.pack("!H", 1000))

    def _write(self, opcode: int, payload: bytes) -> None:
        if self._transport is None or not self._open:
            return
        size, mask = len(payload), self._mask
        key = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
        if size < 126:
            header = bytes((_FINAL | opcode, 0x80 | size))
        else:
            assert size < 1 << 16, "a light client sends little"
            header = struct.pack("!BBH", _FINAL | opcode, 0x80 | 126, size)
        self._transport.write(header + mask + masked)

    def data_received(self, data: bytes) -> None:
        self._count(len(data))
        if self._rest:
            data = self._rest + data
        at = 0 if self._open else self._handshake(data)
        self._rest = self._frames(data, at) if self._open else data

    def _handshake(self, data: bytes) -> int:
        """Where the frames begin, 0 while they do not."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        if not data.startswith(b"HTTP/1.1 101 ") or self._accept not in data[:end]:
            raise NotAFrame(f"no upgrade: {data[:200]!r}")
        self._open = True
        self._listener.opened(self)
        return end + 4

    def _frames(self, data: bytes, at: int) -> bytes:
        """Hand on every whole frame; returns what is left."""
        end = len(data)
        while end - at >= 2:
            first, size = data[at], data[at + 1]
            start = at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                if end - start < width:
                    break
                size = int.from_bytes(data[start : start + width], "big")
                start += width
            if start + size > end:
                break
            payload, at = data[start : start + size], start + size
            if first == _FINAL | _TEXT:
                self._listener.receive(payload)
            else:
                self._control(first, payload)
        return data[at:]

    def _control(self, first: int, payload: bytes) -> None:
        if first == _FINAL | _CLOSE:
            code: int = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else ABNORMAL
            self._end = code, payload[2:]
            self._write(_CLOSE, payload[:2])
            if self._transport is not None:
                self._transport.close()
        elif first == _FINAL | _PING:
            self._write(_PONG, payload)
        elif first != _FINAL | _PONG:
            raise NotAFrame(f"a frame that begins with {first:#x}")
