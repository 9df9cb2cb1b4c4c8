"""Pages are self-contained, and their data never become code."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import OutputError
from geoseg.report.page import escape_text, render_page, write_page
from tests.browser import Pages

EVIL = (
    "</script><img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
)
BODY = '<main id="main"><h1>{}</h1></main>'


def embedded(html: str) -> str:
    """Return the content of the data element, which ends at the first </script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script', html, re.DOTALL)
    assert found
    return found[1]


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.lists(st.text())))
def test_data_round_trip_through_a_page(data: dict[str, object]) -> None:
    assert json.loads(embedded(render_page("t", "", data=data))) == data


def test_numbers_that_are_not_valid_json_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render_page("t", "", data={"score": float("nan")})


@given(st.text())
def test_text_is_written_as_utf_8_and_holds_no_markup(words: str) -> None:
    assert not re.search("[<>\"']", escape_text(words))
    escape_text(words).encode()


def test_names_that_are_not_valid_text_can_be_shown(tmp_path: Path) -> None:
    html = render_page(
        escape_text("scene \udcff"),
        BODY.format(escape_text("scene \udcff")),
        data={"name": "\udcff"},
    )
    assert write_page(html, tmp_path / "page.html").read_text("utf-8") == html


def test_an_existing_page_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_page("other", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "mine"


def test_no_style_or_script_refers_to_the_network() -> None:
    assets = resources.files("geoseg.report") / "assets"
    files = [*assets.iterdir(), *(assets / "evaluation").iterdir()]
    sources = [f for f in files if f.name.endswith(("js", "css"))]
    assert sources
    for source in sources:
        text = source.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")  # a name
        assert not re.search(
            r"https?:|url\(|@import|//\w+\.\w+/|\bfetch\(|innerHTML|\beval\(", text
        )


def test_nothing_in_title_body_or_data_becomes_code(tmp_path: Path, open_page: Pages) -> None:
    html = render_page(EVIL, BODY.format(escape_text(EVIL)), data={"name": EVIL})
    opened = open_page(write_page(html, tmp_path / "page.html"))
    assert opened.title() == EVIL
    assert opened.inner_text("h1") == EVIL
    assert opened.evaluate("page.data.name") == EVIL
    assert opened.locator("img").count() == 0


def test_the_content_security_policy_blocks_scripts_in_the_body(
    tmp_path: Path, open_page: Pages
) -> None:
    html = render_page("t", BODY.format("x") + "<script>document.title = 'taken'</script>", data={})
    file = write_page(html, tmp_path / "page.html")
    opened = open_page(file)
    assert opened.title() == "t"
    assert len(open_page.messages) == 1
    assert "Content Security Policy" in open_page.messages.pop()


def test_the_first_tab_stop_is_a_link_to_the_content(tmp_path: Path, open_page: Pages) -> None:
    opened = open_page(
        write_page(render_page("t", BODY.format("x"), data={}), tmp_path / "page.html")
    )
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.getAttribute('href')") == "#main"
