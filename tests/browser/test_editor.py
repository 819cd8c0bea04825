"""Two people in two windows: what one does, the other sees; at the end both and the server have the same."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import WebSocketRoute

from tests.browser.conftest import OpenWindow
from tests.browser.window import Window, wait_for_same
from tests.support.system import System

pytestmark = [pytest.mark.browser, pytest.mark.system]


def test_what_one_writes_appears_with_the_other(open_window: OpenWindow) -> None:
    ann, bob = open_window("Ann"), open_window("Bob")
    ann.focus_end()
    ann.type("Our trip")
    bob.wait_for_text("Our trip")
    ann.select(0, 3)
    ann.button(".ql-bold")
    bob.focus_end()
    bob.press("Enter")
    bob.button(".ql-list[value=bullet]")
    bob.type("water")
    bob.press("Enter")
    bob.type("lunch \U0001f96a\U0001f468‍\U0001f469‍\U0001f467")
    bob.press("Enter")
    bob.press("Enter")
    ann.wait_for_text("lunch")
    ann.focus_end()
    ann.paste("<p>Call <b>me</b>, or <a href='https://example.org/'>look</a></p>", "Call me, or look")
    ops = wait_for_same(ann, bob)
    assert ops == [
        {"attributes": {"bold": True}, "insert": "Our"},
        {"insert": " trip\nwater"},
        {"attributes": {"list": "bullet"}, "insert": "\n"},
        {"insert": "lunch \U0001f96a\U0001f468‍\U0001f469‍\U0001f467"},
        {"attributes": {"list": "bullet"}, "insert": "\n"},
        {"insert": "Call "},
        {"attributes": {"bold": True}, "insert": "me"},
        {"insert": ", or "},
        {"attributes": {"link": "https://example.org/"}, "insert": "look"},
        {"insert": "\n"},
    ]
    found = ann.of_server()
    assert found["delta"] == ops or found["delta"] == {"ops": ops}
    assert found["text"] == ann.text()


def test_two_who_type_at_one_place_keep_their_words_whole(open_window: OpenWindow) -> None:
    ann, bob = open_window("Ann"), open_window("Bob")
    ann.focus_end()
    bob.focus_end()
    for one, other in zip("penguins", "elephant", strict=True):
        ann.type(one)
        bob.type(other)
    wait_for_same(ann, bob)
    assert sorted(ann.text()) == sorted("penguinselephant\n")
    ann.type(" and so on")
    bob.press("Home")
    bob.type("Title: ")
    wait_for_same(ann, bob)
    assert " and so on" in ann.text()
    assert ann.text().startswith("Title: ")


def test_more_than_one_operation_may_hold_arrives_whole(open_window: OpenWindow) -> None:
    ann, bob = open_window("Ann"), open_window("Bob")
    ann.focus_end()
    words = "lorem ipsum \U0001f600 " * 60
    text = "".join(f"{number} {words}\n" for number in range(400))
    ann.page.evaluate("text => coscribe.quill.insertText(0, text, 'user')", text)
    wait_for_same(ann, bob)
    assert ann.text() == text + "\n"
    assert ann.page.locator(".notice").count() == 0


def test_a_late_comer_reads_what_was_written(open_window: OpenWindow) -> None:
    ann = open_window("Ann")
    ann.focus_end()
    ann.type("before")
    ann.wait_until(ann.settled, lambda: "the edit is not acknowledged")
    bob = open_window("Bob")
    assert bob.text() == "before\n"
    ann.page.reload()
    ann.wait_for_state("saved")
    wait_for_same(ann, bob)


def test_undo_takes_back_ones_own_alone(open_window: OpenWindow) -> None:
    ann, bob = open_window("Ann"), open_window("Bob")
    ann.focus_end()
    ann.type("mine")
    bob.wait_for_text("mine")
    bob.focus_end()
    bob.type(" theirs")
    ann.wait_for_text("theirs")
    ann.press("Control+z")
    wait_for_same(ann, bob)
    assert ann.text() == " theirs\n"


def test_a_change_from_elsewhere_does_not_break_a_composition(open_window: OpenWindow) -> None:
    ann, bob = open_window("Ann"), open_window("Bob")
    ann.focus_end()
    ann.type("end ")
    bob.wait_for_text("end")
    keyboard = ann.input_method()
    keyboard.send("Input.imeSetComposition", {"text": "ni", "selectionStart": 2, "selectionEnd": 2})
    bob.select(0)
    bob.type("start ")
    ann.wait_until(lambda: ann.kept()[0]["insert"].startswith("start"), ann.kept)
    assert ann.page.evaluate("coscribe.quill.composition.isComposing")
    assert ann.text() == "end \n"
    keyboard.send("Input.insertText", {"text": "你好"})
    wait_for_same(ann, bob)
    assert ann.text() == "start end 你好\n"


def test_a_composition_without_end_is_committed_and_goes_on(open_window: OpenWindow) -> None:
    ann, bob = open_window("Ann"), open_window("Bob")
    ann.focus_end()
    keyboard = ann.input_method()
    keyboard.send("Input.imeSetComposition", {"text": "half", "selectionStart": 4, "selectionEnd": 4})
    bob.select(0)
    bob.type("start ")
    bob.wait_for_text("half")
    ann.type(" typed")
    wait_for_same(ann, bob)
    assert ann.text() == "half typedstart \n"


def test_a_refused_edit_is_taken_back_and_shown(open_window: OpenWindow) -> None:
    ann, bob = open_window("Ann", joined=False, intercept=refuse_what_says("secret")), open_window("Bob")
    ann.wait_for_state("saved")
    ann.focus_end()
    ann.type("kept ")
    ann.wait_until(ann.settled, lambda: "the edit is not acknowledged")
    ann.paste("", "secret")
    ann.page.wait_for_selector(".notice")
    ann.type("more")
    wait_for_same(ann, bob)
    assert ann.text() == "kept more\n"
    notice = ann.page.locator(".notice").first
    assert "not here" in (notice.text_content() or "")
    notice.get_by_role("button", name="Dismiss").click()
    assert ann.state() == "saved"


def refuse_what_says(word: str) -> Callable[[WebSocketRoute], None]:
    """Stands between the page and the router, and refuses operations for it."""

    def intercept(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def from_page(message: str | bytes) -> None:
            said = json.loads(message)
            if said["t"] == "op" and word in str(said["delta"]):
                refusal = {"t": "nack", "s": said["s"], "cseq": said["cseq"], "code": "invalid", "retry": "never"}
                route.send(json.dumps({**refusal, "message": "not here"}))
            else:
                server.send(message)

        route.on_message(from_page)

    return intercept


def test_a_router_that_dies_is_healed_without_a_reload(open_window: OpenWindow, system: System) -> None:
    ann, bob = open_window("Ann"), open_window("Bob")
    windows = (ann, bob)
    for window in windows:
        window.page.evaluate("window.notReloaded = true")
    ann.focus_end()
    ann.type("before")
    bob.wait_for_text("before")
    system.kill("router-0")
    for window in windows:
        window.wait_for_state("offline")
    ann.focus_end()
    ann.type(", during")
    bob.select(0)
    bob.type("Ann wrote ")
    for window in windows:
        window.wait_for_state("saved")
    wait_for_same(ann, bob)
    assert ann.text() == "Ann wrote before, during\n"
    ann.type(", after")
    bob.wait_for_text("after")
    assert wait_for_same(ann, bob) == [{"insert": "Ann wrote before, during, after\n"}]
    assert all(window.page.evaluate("window.notReloaded") for window in windows)


def test_a_cursor_is_seen_with_its_name_and_a_name_is_text(open_window: OpenWindow) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    ann, eve = open_window("Ann"), open_window(hostile)
    eve.focus_end()
    eve.type("hello")
    eve.select(1, 3)
    ann.wait_for_text("hello")
    ann.page.wait_for_selector(".ql-cursor .ql-cursor-caret", state="attached")
    name = ann.page.locator(".ql-cursor-name")
    assert name.text_content() == hostile
    assert ann.page.locator("#people .person").count() == 2
    assert hostile in (ann.page.text_content("#people") or "")
    eve.page.close()
    ann.wait_until(lambda: ann.page.locator(".ql-cursor").count() == 0, lambda: "the cursor stays")
    ann.wait_until(lambda: ann.page.locator("#people .person").count() == 1, lambda: "the person stays")
    assert not ann.complaints


def test_who_is_nobody_yet_is_asked_for_a_name(open_window: OpenWindow) -> None:
    window = open_window(None, joined=False)
    page = window.page
    page.wait_for_selector("dialog[open]")
    assert page.input_value("#name")
    page.fill("#name", "Ada Lovelace")
    page.press("#name", "Enter")
    window.wait_for_state("saved")
    assert "Ada Lovelace" in (page.get_attribute("#people-button", "title") or "")
    page.reload()
    window.wait_for_state("saved")
    assert not page.is_visible("dialog")
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("({...localStorage, ...sessionStorage})") == {"coscribe.name": "Ada Lovelace"}
    assert not window.complaints


def test_a_phone_in_the_dark(open_window: OpenWindow) -> None:
    phone = open_window(
        "Ann", viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, color_scheme="dark"
    )
    page = phone.page
    page.tap(".ql-editor")
    phone.type("a long word: " + "x" * 200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert _lightness(phone, "#editor") < 60
    assert _lightness(open_window("Bob"), "#editor") > 240
    page.tap("#toolbar .ql-header .ql-picker-label")
    assert page.locator(".ql-picker-item[data-value='2']").is_visible()


def _lightness(window: Window, selector: str) -> int:
    color: str = window.page.evaluate("s => getComputedStyle(document.querySelector(s)).backgroundColor", selector)
    return max(int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(","))
