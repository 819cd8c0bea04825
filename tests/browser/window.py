"""A window of the editor page, as its user and its programmer see it."""

import json
import time
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote

from playwright.sync_api import CDPSession, ConsoleMessage, Page

PATIENCE_S = 20.0


class Window:
    def __init__(self, page: Page, url: str, document: str, intercepted: bool = False) -> None:
        self.page, self.url, self.document, self._intercepted = page, url, document, intercepted
        self.complaints: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: ConsoleMessage) -> None:
        """A refused connection is said by the browser itself; everything else is a fault of the page. Where a test
        stands between page and router, its own socket may be closing while the page's still looks open."""
        ours = self._intercepted and "already in CLOSING" in message.text
        if message.type in ("error", "warning") and "WebSocket connection" not in message.text and not ours:
            self.complaints.append(message.text)

    def open(self, name: str | None) -> None:
        query = "" if name is None else f"?name={quote(name)}"
        self.page.goto(f"{self.url}/d/{self.document}{query}")

    # --- What is there ---

    def state(self) -> str | None:
        return self.page.get_attribute("#state", "data-state")

    def contents(self) -> list[dict[str, Any]]:
        """What Quill shows."""
        return cast(list[dict[str, Any]], self.page.evaluate("coscribe.quill.getContents().ops"))

    def kept(self) -> list[dict[str, Any]]:
        """What the client holds."""
        return cast(list[dict[str, Any]], self.page.evaluate("coscribe.doc.contents.ops"))

    def text(self) -> str:
        return cast(str, self.page.evaluate("coscribe.quill.getText()"))

    def settled(self) -> bool:
        return cast(bool, self.page.evaluate("coscribe.doc.synced && !coscribe.doc.hasPending"))

    def of_server(self) -> dict[str, Any]:
        """The document as the HTTP API gives it to this user."""
        response = self.page.context.request.get(f"{self.url}/v1/documents/{self.document}")
        assert response.ok, response.text()
        return cast(dict[str, Any], response.json())

    # --- What is done ---

    def focus_end(self) -> None:
        self.page.click(".ql-editor")
        self.page.keyboard.press("Control+End")

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def button(self, selector: str) -> None:
        self.page.click(f"#toolbar {selector}")

    def select(self, index: int, length: int = 0) -> None:
        self.page.evaluate("([index, length]) => coscribe.quill.setSelection(index, length, 'user')", [index, length])

    def paste(self, html: str, text: str) -> None:
        self.page.evaluate(
            """([html, text]) => {
              const clipboardData = new DataTransfer();
              clipboardData.setData("text/html", html);
              clipboardData.setData("text/plain", text);
              const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
              coscribe.quill.root.dispatchEvent(event);
            }""",
            [html, text],
        )

    def input_method(self) -> CDPSession:
        return self.page.context.new_cdp_session(self.page)

    # --- What is waited for ---

    def wait_until(self, is_so: Callable[[], bool], said: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, said()
            self.page.wait_for_timeout(30)

    def wait_for_state(self, state: str) -> None:
        self.wait_until(lambda: self.state() == state, lambda: f"the state is {self.state()}, not {state}")

    def wait_for_text(self, part: str) -> None:
        self.wait_until(lambda: part in self.text(), lambda: f"{part!r} does not come: {self.text()!r}")


def wait_for_same(*windows: Window) -> list[dict[str, Any]]:
    """Until everything is acknowledged and every window shows the same. Returns what that is."""
    first = windows[0]

    def same() -> bool:
        shown = [window.contents() for window in windows]
        return all(window.settled() for window in windows) and all(ops == shown[0] for ops in shown)

    first.wait_until(same, lambda: json.dumps([window.contents() for window in windows], indent=1))
    for window in windows:
        assert window.kept() == window.contents(), "the editor shows something else than the client holds"
        assert not window.complaints, window.complaints
    return first.contents()
