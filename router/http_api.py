"""The HTTP API: documents, guests, tickets, health, metrics, and the editor page."""

import asyncio
import contextlib
import json
import secrets
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from coscribe.names import FIRST_SECTION, SectionKey, is_document_id
from coscribe.ot import OWN_LIMITS, decode
from coscribe.protocol import Snapshot
from persistence.disk import DiskReserve
from persistence.documents import Documents
from persistence.records import Document
from persistence.tickets import LIFETIME_S as TICKET_LIFETIME_S
from persistence.tickets import Tickets
from router.auth import COOKIE, Identity, Tokens, Unauthenticated, clean_name, guest
from router.link import Answerless
from router.metrics import RouterMetrics
from router.problem import Problem
from router.router import Router

STATIC: Final = Path(__file__).with_name("static")
BODY_BYTES: Final = 64 * 1024
GUEST_LIFETIME_S: Final = 12 * 3600
OWNER_PATIENCE_S: Final = 5.0
OWNER_RETRY_S: Final = 0.25
ORGANISATION: Final = "default"

_PAGE_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: https:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
"""Quill sets widths and colours as inline styles; scripts are our own files alone."""

_snapshot_decoder = msgspec.json.Decoder(Snapshot)


class NewGuest(msgspec.Struct):
    name: str


class NewTicket(msgspec.Struct):
    document: str | None = None


class NewDocument(msgspec.Struct):
    id: str | None = None


Body = TypeVar("Body")


class HttpApi:
    """Handlers of one router process."""

    def __init__(
        self,
        router: Router,
        metrics: RouterMetrics,
        tokens: Tokens,
        tickets: Tickets,
        documents: Documents,
        *,
        guests: bool,
        create_on_open: bool,
        disk: DiskReserve | None = None,
    ) -> None:
        self._router, self._metrics, self._tokens = router, metrics, tokens
        self._tickets, self._documents = tickets, documents
        self._guests, self._create_on_open = guests, create_on_open
        self._disk = disk
        self.ready = True

    def routes(self) -> list[web.RouteDef]:
        get, post = web.get, web.post
        return [
            get("/", self._new_page),
            get("/d/{document}", self._page),
            get("/static/{path:.+}", self._static),
            get("/healthz", self._health),
            get("/readyz", self._ready),
            get("/metrics", self._metrics_page),
            post("/v1/auth/guest", self._guest),
            post("/v1/auth/tickets", self._ticket),
            post("/v1/documents", self._create),
            get("/v1/documents/{document}", self._read),
        ]

    # --- Identity ---

    def identify(self, request: web.Request) -> Identity:
        """Who asks: a bearer token, else the cookie. Raises Unauthenticated."""
        header = request.headers.get("Authorization", "")
        token = header.removeprefix("Bearer ") if header.startswith("Bearer ") else request.cookies.get(COOKIE)
        if not token:
            raise Unauthenticated("there is no token")
        return self._tokens.check(token)

    def _identified(self, request: web.Request, document_id: str | None = None) -> Identity:
        try:
            identity = self.identify(request)
        except Unauthenticated as error:
            raise Problem(HTTPStatus.UNAUTHORIZED, "unauthenticated", str(error)) from None
        if identity.document is not None and document_id is not None and identity.document != document_id:
            raise Problem(HTTPStatus.FORBIDDEN, "forbidden", "this token is for another document")
        return identity

    async def _guest(self, request: web.Request) -> web.Response:
        if not self._guests:
            raise Problem(HTTPStatus.FORBIDDEN, "guests_off", "guests are not let in here; sign in with a token")
        wanted = await _body(request, NewGuest)
        if not clean_name(wanted.name):
            raise Problem(HTTPStatus.BAD_REQUEST, "invalid", "a guest needs a name")
        identity = guest(wanted.name)
        now = int(time.time())
        token = self._tokens.mint(identity, now, GUEST_LIFETIME_S)
        body: dict[str, Any] = {
            "user": {"id": identity.user, "name": identity.name}, "expires": now + GUEST_LIFETIME_S
        }  # fmt: skip
        if request.query.get("token") == "1":
            body["token"] = token
        response = _json(body, HTTPStatus.CREATED)
        response.set_cookie(
            COOKIE, token, max_age=GUEST_LIFETIME_S, httponly=True, samesite="Strict", path="/", secure=request.secure
        )
        return response

    async def _ticket(self, request: web.Request) -> web.Response:
        wanted = await _body(request, NewTicket)
        identity = self._identified(request, wanted.document)
        bound = msgspec.structs.asdict(wanted)["document"] or identity.document
        value = {
            "user": identity.user, "name": identity.name, "role": identity.role, "expires": identity.expires,
            "document": bound,
        }  # fmt: skip
        ticket = await self._tickets.issue(msgspec.json.encode(value))
        return _json({"ticket": ticket, "expires_in_s": TICKET_LIFETIME_S}, HTTPStatus.CREATED)

    async def redeem(self, ticket: str, document_id: str) -> Identity | None:
        """The identity behind a ticket, once, if it is good for this document."""
        value = await self._tickets.redeem(ticket)
        identity = None if value is None else msgspec.json.decode(value, type=Identity)
        return identity if identity and identity.document in (None, document_id) else None

    # --- Documents ---

    async def open(self, document_id: str, identity: Identity) -> Document | None:
        """The document of an id, made now where opening may do that. Raises Unavailable."""
        found = await self._documents.resolve(document_id)
        if found is None and self._create_on_open and identity.role != "reader":
            found, _ = await self._make(document_id, identity)
        return found

    async def _make(self, document_id: str, identity: Identity) -> tuple[Document, bool]:
        now_ms = time.time_ns() // 1_000_000
        return await self._documents.create(document_id, ORGANISATION, identity.user, now_ms, secrets.token_urlsafe(9))

    async def _create(self, request: web.Request) -> web.Response:
        wanted = await _body(request, NewDocument)
        document_id = secrets.token_urlsafe(12) if wanted.id is None else wanted.id
        _check_id(document_id)
        identity = self._identified(request, document_id)
        if identity.role == "reader":
            raise Problem(HTTPStatus.FORBIDDEN, "forbidden", "you may read documents but not make them")
        document, created = await self._make(document_id, identity)
        if not created:
            raise Problem(HTTPStatus.CONFLICT, "exists", f"there is a document {document_id}, or there was one")
        body = {"id": document.id, "incarnation": document.incarnation}
        return _json(body, HTTPStatus.CREATED, {"Location": f"/v1/documents/{document.id}"})

    async def _read(self, request: web.Request) -> web.Response:
        document_id = request.match_info["document"]
        _check_id(document_id)
        self._identified(request, document_id)
        document = await self._documents.resolve(document_id)  # reading makes nothing, not even where opening does
        if document is None:
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", f"there is no document {document_id}")
        if document.deleted:
            raise Problem(HTTPStatus.GONE, "deleted", f"document {document_id} was deleted")
        with self._metrics.open_s.time():
            snapshot = await self._snapshot(SectionKey(document.id, document.incarnation, FIRST_SECTION))
        delta = decode(bytes(snapshot.delta), OWN_LIMITS)
        body = {
            "id": document.id,
            "incarnation": document.incarnation,
            "sections": [{"id": snapshot.s, "revision": snapshot.rev}],
            "delta": delta.to_quill(),
            "text": delta.text(),
        }
        return _json(body)

    async def _snapshot(self, key: SectionKey) -> Snapshot:
        """The present content, from the owner, wherever that is by now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OWNER_PATIENCE_S):
                while True:
                    try:
                        return _snapshot_decoder.decode((await self._router.links.snapshot(key, fresh=True)).message)
                    except Answerless as problem:
                        if problem.code == "moved":
                            await self._router.refresh_map()
                        await asyncio.sleep(OWNER_RETRY_S)
        text = "the owner of the document does not answer; try again soon"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", text, 1.0)

    # --- Pages, health ---

    async def _new_page(self, request: web.Request) -> web.Response:
        query = f"?{request.query_string}" if request.query_string else ""
        raise web.HTTPFound(f"/d/{secrets.token_urlsafe(9)}{query}", headers={"Cache-Control": "no-store"})

    async def _page(self, request: web.Request) -> web.StreamResponse:
        _check_id(request.match_info["document"])
        page = STATIC / "index.html"
        if not page.is_file():
            text = "the editor page was not built: run `make sdk`"
            raise Problem(HTTPStatus.NOT_FOUND, "no_page", text)
        headers = {
            "Cache-Control": "no-cache", "Content-Security-Policy": _PAGE_POLICY, "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        }  # fmt: skip
        return web.FileResponse(page, headers=headers)

    async def _static(self, request: web.Request) -> web.StreamResponse:
        try:
            path = (STATIC / request.match_info["path"]).resolve()
            found = path.is_relative_to(STATIC.resolve()) and path.is_file()
        except (OSError, ValueError):  # too long, or with a NUL in it
            found = False
        if not found:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
        return web.FileResponse(path, headers=headers)

    async def _health(self, request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _ready(self, request: web.Request) -> web.Response:
        """Ready means: a client that comes now is served."""
        hosts = self._router.hosts_up
        if not self.ready or not hosts:
            text = "shutting down" if not self.ready else "no shard host is up"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", text, 1.0)
        found: dict[str, Any] = {"status": "ready", "hosts": hosts, "view": self._router.view}
        if self._disk:
            self._disk.look()
            found["disk"] = "short" if self._disk.short else "ok"  # ready all the same: reading goes on
        return _json(found)

    async def _metrics_page(self, request: web.Request) -> web.Response:
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _check_id(document_id: str) -> None:
    if not is_document_id(document_id):
        text = "a document id has 1 to 128 characters of A-Z, a-z, 0-9, _ and -"
        raise Problem(HTTPStatus.BAD_REQUEST, "invalid", text)


async def _body(request: web.Request, kind: type[Body]) -> Body:
    """The JSON body as a value of `kind`; an empty one is an empty object. The content type must say JSON, which no
    form of another site can do unasked."""
    raw = await request.read()
    if raw and request.content_type != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "invalid", "send application/json")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Problem(HTTPStatus.FORBIDDEN, "cross_site", "this may not be asked from another site")
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "invalid", str(error)) from None


def _json(body: object, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> web.Response:
    """Never cached: what is live is asked for again."""
    text = json.dumps(body, ensure_ascii=True)
    given = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})}
    return web.Response(status=status, text=text, content_type="application/json", headers=given)
