"""Real Chromium on the real system. Each test has a browser of its own and opens windows that share nothing."""

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, WebSocketRoute, sync_playwright

from tests.browser.window import Window
from tests.support.required import cannot_run
from tests.support.system import System

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip


def _chromium() -> str:
    path = shutil.which("chromium")
    if path is None:
        cannot_run("chromium", "there is no `chromium` on the PATH")
    return path


@pytest.fixture
def browser(system: System) -> Iterator[Browser]:
    """Started after the system and stopped before it: Playwright keeps a running loop in this thread meanwhile."""
    path = _chromium()
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=ARGUMENTS)


OpenWindow = Callable[..., Window]


@pytest.fixture
def open_window(browser: Browser, system: System) -> OpenWindow:
    """Opens the test's document, which is new, as somebody, in a context of their own."""
    document = f"d-{secrets.token_hex(6)}"

    def open_it(
        name: str | None = "Ann",
        joined: bool = True,
        intercept: Callable[[WebSocketRoute], None] | None = None,
        **context: Any,
    ) -> Window:
        page = browser.new_context(**context).new_page()
        if intercept:
            page.route_web_socket(re.compile("/socket"), intercept)
        window = Window(page, system.url, document, intercepted=intercept is not None)
        window.open(name)
        if joined:
            window.wait_for_state("saved")
        return window

    return open_it
