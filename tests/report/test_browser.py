"""The report in a real browser: quiet, offline, usable by mouse and keyboard, at every width."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.report.chromium import PROGRAM, Chromium
from tests.report.fake import write_run

pytestmark = [pytest.mark.browser, pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    folder = tmp_path_factory.mktemp("browser")
    run = write_run(folder / "run", copies=3, clean=4, leads=2, filler=9, pictures=3, hostile=True)
    with Chromium(folder / "profile") as page:
        page.open((run / "report.html").as_uri())
        yield page


def test_no_error_and_no_request(browser: Chromium) -> None:
    bad = [
        event
        for event in browser.events
        if event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    ]
    assert bad == []
    asked = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert sum(url.startswith("file:") for url in asked) == 1
    assert browser.run("document.querySelectorAll('script, img').length") == 1
    assert browser.run("typeof window.alertCalled") == "undefined"


def test_pictures_are_drawn(browser: Chromium) -> None:
    sizes = browser.run(
        "[...document.querySelectorAll('.finding svg use')]"
        ".map(u => { const b = u.getBBox(); return b.width * b.height })"
    )
    assert len(sizes) == 3 * 4
    assert min(sizes) > 1000


def test_the_comparer_slides_by_keyboard_and_mouse(browser: Chromium) -> None:
    x = "document.querySelector('.stage').style.getPropertyValue('--x')"
    assert browser.run(x) == "50%"
    browser.run("document.querySelector('.comparer input').focus()")
    for _ in range(3):
        browser.key("ArrowRight")
    assert browser.run(x) == "53%"
    left, top, width, height = browser.run(
        "(() => { const s = document.querySelector('.stage'); s.scrollIntoView({block: 'center'});"
        " const r = s.getBoundingClientRect(); return [r.left, r.top, r.width, r.height] })()"
    )
    point = {"x": left + 0.2 * width, "y": top + 0.5 * height, "button": "left", "buttons": 1, "clickCount": 1}
    browser.send("Input.dispatchMouseEvent", type="mousePressed", **point)
    browser.send("Input.dispatchMouseEvent", type="mouseReleased", **{**point, "buttons": 0})
    assert browser.run(x) == "20%"
    clip = browser.run("getComputedStyle(document.querySelector('.stage .above')).clipPath")
    assert clip == "inset(0px 0px 0px 20%)"


def test_blink_and_difference(browser: Chromium) -> None:
    style = "getComputedStyle(document.querySelector('.stage .above'))"
    browser.run("document.querySelector('button[data-mode=blink]').focus()")
    browser.key("Enter")
    assert browser.run(f"{style}.animationName") == "blink"
    assert browser.run("document.querySelector('button[data-mode=blink]').getAttribute('aria-pressed')") == "true"
    browser.run("document.querySelector('button[data-mode=difference]').click()")
    assert browser.run(f"{style}.mixBlendMode") == "difference"
    assert browser.run(f"{style}.animationName") == "none"
    browser.run("document.querySelector('button[data-mode=difference]').click()")
    assert browser.run("document.querySelector('.stage').dataset.mode") == "slide"


def test_the_filter_hides_findings(browser: Chromium) -> None:
    shown = "[...document.querySelectorAll('[data-finding]')].filter(e => !e.hidden).length"
    total = browser.run(shown)
    assert total == 12
    browser.run("{ const s = document.querySelector('select[name=kind]'); s.value = 'partial_copy';"
                " s.dispatchEvent(new Event('change')) }")  # fmt: skip
    assert browser.run(shown) == 4
    assert "4 of 12 shown" in browser.run("document.querySelector('.filter output').textContent")
    browser.run("{ const s = document.querySelector('select[name=kind]'); s.value = '';"
                " s.dispatchEvent(new Event('change')) }")  # fmt: skip
    assert browser.run(shown) == total


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_scrolls_sideways(browser: Chromium, width: int) -> None:
    browser.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 700)
    try:
        assert browser.run("document.documentElement.scrollWidth") <= width
    finally:
        browser.send("Emulation.clearDeviceMetricsOverride")


def test_it_prints(browser: Chromium) -> None:
    assert len(browser.send("Page.printToPDF")["data"]) > 10_000
