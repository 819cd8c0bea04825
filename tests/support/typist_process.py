"""Somebody who types, as a process of its own: python -m tests.support.typist_process DOCUMENT NAME TOKEN URL…

Each line of stdin is a wish, each line of stdout an answer in JSON. `more`: once some more words are typed. `stop`: no
more is typed, and all of it is durable. A number: once the document has so many characters, its text."""

import asyncio
import json
import sys
from typing import Any

import aiohttp

from coscribe.client import DocumentClient
from tests.integration.typing import Typist


async def main() -> None:
    document, name, token, *urls = sys.argv[1:]
    async with (
        aiohttp.ClientSession() as http,
        DocumentClient(http, urls, document, token=token) as client,
    ):
        typist = Typist(name, client)
        typist.start()
        while wish := (await asyncio.to_thread(sys.stdin.readline)).strip():
            print(json.dumps(await fulfil(wish, typist, client)), flush=True)


async def fulfil(wish: str, typist: Typist, client: DocumentClient) -> dict[str, Any]:
    if wish == "more":
        await typist.more()
    elif wish == "stop":
        await typist.stop()
    else:
        await client.wait_for(lambda: client.content.length == int(wish))
    welcome = client.session.welcome
    assert welcome is not None
    return {"words": typist.words, "text": client.text, "version": welcome.v}


if __name__ == "__main__":
    asyncio.run(main())
