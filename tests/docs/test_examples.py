"""Code in the pages works: Python runs, and JSON is what the protocol says."""

import asyncio
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from coscribe import protocol
from coscribe.ot import Delta, decode
from loadtests.traces import read_trace
from router.auth import Tokens
from tests.docs.pages import DOCS, PAGES, README, ROOT, Block, Page
from tests.support.cluster import SECRET, Cluster, cluster
from tests.support.required import cannot_run

DEFAULT_URL = "http://127.0.0.1:8080"


def _blocks(language: str, pages: list[Page] | None = None) -> list[Any]:
    return [
        pytest.param(block, id=f"{page}:{block.line}")
        for page in pages or PAGES
        for block in page.blocks
        if block.language == language
    ]


def _block(page: Page, language: str, heading: str) -> Block:
    return next(block for block in page.blocks if (block.language, block.heading) == (language, heading))


# --- Python ---


@pytest.mark.parametrize("block", _blocks("python", [DOCS["delta"], DOCS["engine"]]))
def test_examples_of_the_engine_hold(block: Block) -> None:
    exec(compile(block.text, f"line {block.line}", "exec"), {})


@pytest.mark.parametrize("block", _blocks("python"))
def test_python_compiles_and_imports_what_is_there(block: Block) -> None:
    code = compile(block.text, "example", "exec")
    assert code
    for line in re.findall(r"^(?:import|from) .+$", block.text, re.MULTILINE):
        exec(line, {})


def test_a_token_made_as_the_page_says_is_accepted() -> None:
    made: dict[str, Any] = {}
    exec(_block(DOCS["protocol"], "python", "Identity").text, made)
    token = made["access_token"](SECRET, "ann", "Ann")
    identity = Tokens(SECRET, "coscribe", "coscribe").check(token)
    assert (identity.user, identity.name, identity.role, identity.document) == ("ann", "Ann", "writer", None)


@pytest.mark.services
async def test_the_script_of_the_readme(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    async with cluster(redis_url, postgres_url, tmp_path / "data") as system:
        script = tmp_path / "script.py"
        script.write_text(_here(_block(README, "python", "A Python script").text, system))
        assert await _run(sys.executable, str(script)) == "Hello, everyone. \n\n"
        async with system.client("lesson-7") as document:
            await document.joined()
            assert document.text == "Hello, everyone. \n"


@pytest.mark.services
async def test_the_curl_commands_of_the_readme(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        cannot_run("curl", "there is no `curl` on the PATH")
    async with cluster(redis_url, postgres_url, tmp_path / "data") as system:
        script = _here(_block(README, "sh", "With curl").text, system)
        said = await _run(
            "bash", "-e", "-c", f"cd {shlex.quote(str(tmp_path))}\n{script.replace('curl ', 'echo; curl ')}"
        )
    guest, made, read = [json.loads(line) for line in said.split("\n")[1:]]
    assert guest["user"]["name"] == "Ann"
    assert made["id"] == read["id"] == "minutes"
    assert read["text"] == "\n"


def test_the_page_of_the_readme_imports_what_the_client_offers() -> None:
    page = _block(README, "html", "Your own page").text
    offered = {"@coscribe/client": "index.ts", "@coscribe/client/quill": "quill.ts"}
    imports = re.findall(r'import \{ (\w+) \} from "(@coscribe/[^"]+)"', page)
    assert {name for _, name in imports} == set(offered)
    for word, name in imports:
        source = (ROOT / "sdk" / "src" / offered[name]).read_text("utf-8")
        assert re.search(rf"^export (?:function {word}|\{{ {word} \}})", source, re.MULTILINE), word


def _here(text: str, system: Cluster) -> str:
    assert DEFAULT_URL in text
    return text.replace(DEFAULT_URL, system.routers[0].url)


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


# --- JSON ---


@pytest.mark.parametrize("block", _blocks("json"))
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


def _messages(part: str) -> list[Any]:
    page = DOCS["protocol"]
    names = {heading.strip("`") for heading in re.findall(r"^### (.+)$", page.section(part), re.MULTILINE)}
    start = page.text.index(f"\n## {part}\n")
    end = page.text.index("\n## ", start + 1)
    first, last = page.text[:start].count("\n"), page.text[:end].count("\n")
    blocks = [block for block in page.blocks if block.language == "json" and first < block.line < last]
    assert {block.heading.strip("`") for block in blocks} == names, "each message has an example"
    return [pytest.param(block, id=block.heading.strip("`")) for block in blocks]


@pytest.mark.parametrize("block", _messages("Client to server"))
def test_messages_of_clients(block: Block) -> None:
    message = protocol.decode_client_message(block.text)
    assert message.__struct_config__.tag == block.heading.strip("`")
    _same(block.text, message)
    if isinstance(message, protocol.Op):
        decode(bytes(message.delta))


@pytest.mark.parametrize("block", _messages("Server to client"))
def test_messages_of_servers(block: Block) -> None:
    for frame in (block.text, f"[{block.text}]"):
        (message,) = protocol.decode_server_frame(frame)
        assert (message.__struct_config__.tag or "Entries") == block.heading.strip("`")
        _same(block.text, message)
    if isinstance(message, protocol.Nack):
        assert message.retry is message.code.retry
    if isinstance(message, protocol.Entries):
        for raw in message.e:
            protocol.decode_op_entry(raw)


def _same(text: str, message: Any) -> None:
    """The example has the fields of the message, and no other."""
    fields = set(json.loads(text)) - {"t"}
    known = set(message.__struct_encode_fields__)
    assert fields <= known, fields - known
    assert json.loads(msgspec.json.encode(message)) == json.loads(text)


def test_every_optional_field_is_shown_or_said_to_be_missing() -> None:
    page = DOCS["protocol"]
    for cls in (*get_args(protocol.ServerMessage), *get_args(protocol.ClientMessage), protocol.Entries):
        for field in cls.__struct_encode_fields__:
            assert f'"{field}"' in page.text or f"`{field}`" in page.text, f"{cls.__name__}.{field}"


@pytest.mark.parametrize("block", _blocks("json", [DOCS["load-testing"]]))
def test_traces_can_be_read(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "example.json"
    path.write_text(block.text)
    trace = read_trace(path)
    assert trace.authors == (2 if "concurrent" in block.text else 1)
    if not trace.at_once:
        document = Delta.replace(0, 0, "\n")
        for step in trace.steps:
            document = document.compose(step.plain())
        assert document == trace.end
