"""The port on which routers listen: free before anything starts, and answered on before we say that we are there."""

import asyncio
import os
import socket
import time
from pathlib import Path
from typing import Final

from cluster.data_folder import CannotStart, log_tail
from cluster.processes import Child

LISTEN_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.05
TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTENING: Final = "0A"


def refuse_busy_port(bind: str, port: int) -> None:
    """Raises CannotStart. Looks without SO_REUSEPORT, with which routers share the port: it would hide another's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise CannotStart(f"{bind} is not an address of this machine.") from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except PermissionError:
            raise CannotStart(f"This user may not listen on port {port}. Give one from 1024 upward: --port.") from None
        except OSError as error:
            raise CannotStart(
                f"Cannot listen on {bind} port {port}: {error.strerror}. Stop what uses it, or give another --port."
            ) from None


def reachable(bind: str) -> str:
    """An address under which what listens on `bind` is reached from here."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)


def web_address(bind: str, port: int) -> str:
    host = reachable(bind)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def listens(pid: int, port: int) -> bool:
    """Whether this very process listens on the port. True where the kernel does not say."""
    rows = [row.split() for table in TABLES if table.exists() for row in table.read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port}
    try:
        return any(os.readlink(file)[len("socket:[") : -1] in inodes for file in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True


async def until_listening(child: Child, bind: str, port: int) -> None:
    """Raises CannotStart if the child ends first, or takes too long."""
    deadline = time.monotonic() + LISTEN_TIMEOUT_S
    while True:
        try:
            if child.exit_code is None and not listens(child.pid, port):  # another router may answer on the port
                raise ConnectionRefusedError
            _, writer = await asyncio.open_connection(reachable(bind), port)
        except OSError:
            if child.exit_code is None and time.monotonic() < deadline:
                await asyncio.sleep(POLL_S)
                continue
            why = "does not listen" if child.exit_code is None else f"ended with exit code {child.exit_code}"
            child.kill()
            assert child.log is not None
            raise CannotStart(f"{child.name} {why}. The end of {child.log}:\n{log_tail(child.log)}") from None
        writer.close()
        if child.exit_code is None:
            return
