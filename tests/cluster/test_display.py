"""What the operator sees, and the logs that are kept."""

import io
import re
import socket
from pathlib import Path

import pytest
from rich.console import Console

from cluster.data_folder import CannotStart, last_line, log_tail
from cluster.display import Display, Terminal
from cluster.logs import begin_anew, bound
from cluster.ports import refuse_busy_port, until_listening, web_address
from cluster.processes import spawn
from tests.support.required import cannot_run


def test_without_a_terminal_there_are_plain_lines() -> None:
    text = io.StringIO()
    with Display(Console(file=text, width=40), ["Valkey", "Ray"]) as display:
        display.ready("Valkey", "9.1.2 [package] and a line that is longer than forty columns")
        display.settle()
        display.say("router-0 was killed.")
        display.ready("Valkey", "9.1.2")
    assert re.fullmatch(
        r"Valkey ready after 0\.\d s: 9\.1\.2 \[package\] and a line that is longer than forty columns\n"
        r"\d\d:\d\d:\d\d  router-0 was killed\.\n"
        r"\d\d:\d\d:\d\d  Valkey is ready again\.\n",
        text.getvalue(),
    )


def test_on_a_terminal_each_part_has_its_line() -> None:
    text = io.StringIO()
    with Display(Console(file=text, width=80, force_terminal=True), ["Valkey", "Ray"]) as display:
        display.ready("Valkey", "9.1.2")
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue()).rstrip().splitlines()[-2:]
    assert re.fullmatch(r"✓  Valkey  0\.\d s  9\.1\.2 *", last[0])
    assert "Ray" in last[1]


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_has_gone_does_not_end_anything() -> None:
    with Display(Terminal(file=Gone()), ["Valkey"]) as display:
        display.ready("Valkey", "9.1.2")
        display.say("Stopping.")


def test_a_log_is_cut_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    with open(log, "ab", buffering=0) as writer:
        writer.write(b"".join(b"line %d\n" % number for number in range(100)))
        bound(log, largest=1000)
        assert log.read_bytes() == b"".join(b"line %d\n" % number for number in range(100)), "not too large yet"
        bound(log, largest=50)
        writer.write(b"next\n")
    assert log.read_bytes() == b"next\n"
    assert (tmp_path / "part.log.1").read_bytes().endswith(b"line 98\nline 99\n")
    assert (tmp_path / "part.log.1").stat().st_size == 50
    bound(tmp_path / "none.log")
    begin_anew(log)
    assert (tmp_path / "part.log.1").read_bytes() == b"next\n"
    assert not log.exists()


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    assert (log_tail(log), last_line(log)) == ("", "")
    log.write_bytes(b"x" * 10_000 + b"\nfirst\n\xff\nlast\n\n")
    assert log_tail(log, lines=3) == "  \ufffd\n  last\n  "
    assert last_line(log) == "last"


def test_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(CannotStart, match=f"Cannot listen on 127.0.0.1 port {port}: Address already in use"):
            refuse_busy_port("127.0.0.1", port)
    refuse_busy_port("127.0.0.1", port)
    with pytest.raises(CannotStart, match="not an address of this machine"):
        refuse_busy_port("no.such.host.invalid", port)
    with pytest.raises(CannotStart, match=r"Cannot listen on 192\.0\.2\.1"):
        refuse_busy_port("192.0.2.1", port)


def test_a_port_that_another_shares_is_busy_too() -> None:
    if not hasattr(socket, "SO_REUSEPORT"):
        cannot_run("reuseport", "this system has no SO_REUSEPORT")
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as server, pytest.raises(CannotStart):
        refuse_busy_port("127.0.0.1", server.getsockname()[1])


@pytest.mark.parametrize(
    ("bind", "address"),
    [("127.0.0.1", "http://127.0.0.1:80/"), ("0.0.0.0", "http://127.0.0.1:80/"), ("::", "http://[::1]:80/")],
)
def test_the_address_to_open(bind: str, address: str) -> None:
    assert web_address(bind, 80) == address


async def test_a_router_that_ends_instead_of_listening_shows_its_log(tmp_path: Path) -> None:
    child = spawn("router-0", ["sh", "-c", "echo no settings; exit 3"], log=tmp_path / "router-0.log")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(CannotStart, match=r"(?s)router-0 ended with exit code 3\..*router-0.log:\n  no settings"):
            await until_listening(child, "127.0.0.1", unused.getsockname()[1])
    assert child.exit_code == 3
