"""Fixtures that open pages in headless Chromium, offline."""

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
    "--no-sandbox",  # not available in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start the browser named by CHROMIUM, or that on the path; skip the test without one."""
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
    """Open pages, each in a context of its own: ``pages(file, **context)`` with the keywords of Playwright."""

    def __init__(self, browser: Browser) -> None:
        self.messages: list[str] = []
        """Console messages and exceptions of the pages."""

        self.requests: list[str] = []
        """Requests of the pages, other than for themselves."""

        self._browser = browser
        self._contexts: list[BrowserContext] = []

    def __call__(self, file: Path, **context: Any) -> Page:
        self._contexts.append(self._browser.new_context(**context))
        page = self._contexts[-1].new_page()
        page.set_default_timeout(10_000)
        own = file.absolute().as_uri()
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("request", lambda request: self._record_request(request.url, own))
        page.goto(own)
        return page

    def close(self) -> None:
        """Close all pages."""
        for context in self._contexts:
            context.close()

    def _record_request(self, url: str, own: str) -> None:
        if url != own and not url.startswith(("data:", "blob:")):
            self.requests.append(url)


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Pages]:
    """Open pages; after the test, check that they logged no message and sent no request."""
    pages = Pages(chromium)
    yield pages
    pages.close()
    assert not pages.messages
    assert not pages.requests
