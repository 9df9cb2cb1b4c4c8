"""Pages as people meet them: opened in headless Chromium, offline."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

_ARGUMENTS = [
    "--headless",
    "--no-sandbox",  # there is none inside a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser that CHROMIUM names, or the one on the path; the test is skipped without."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(found).exists():
        pytest.skip(f"needs Chromium: {found} is not there (Debian: apt-get install chromium)")
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install 'geoseg[dev]'"
    )
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=_ARGUMENTS)
        yield browser
        browser.close()


class Pages:
    """Opens pages: ``pages(file, **context)`` -> a page in a context of its own (Playwright's keywords)."""

    def __init__(self, browser: Browser) -> None:
        self.said: list[str] = []
        """What pages wrote on their consoles, and exceptions."""

        self.asked: list[str] = []
        """What pages asked for, themselves not counted."""

        self._browser = browser
        self._contexts: list[BrowserContext] = []

    def __call__(self, file: Path, **context: Any) -> Page:
        self._contexts.append(self._browser.new_context(**context))
        page = self._contexts[-1].new_page()
        page.set_default_timeout(10_000)
        own = file.absolute().as_uri()
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self._asks(request.url, own))
        page.goto(own)
        return page

    def close(self) -> None:
        """Close all of them."""
        for context in self._contexts:
            context.close()

    def _asks(self, url: str, own: str) -> None:
        if url != own and not url.startswith(("data:", "blob:")):
            self.asked.append(url)


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Pages]:
    """Opens pages that, when the test ends, have kept silent on their consoles and asked for nothing."""
    pages = Pages(chromium)
    yield pages
    pages.close()
    assert not pages.said
    assert not pages.asked
