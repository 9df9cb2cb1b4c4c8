"""A page for a browser that is complete in one file: no network, no framework, nothing beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from geoseg._version import __version__
from geoseg.files import replacing

# A policy in the page itself: whatever stood in the data, no script but ours runs and nothing is fetched.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {scripts}; "
    "base-uri 'none'; form-action 'none'"
)

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="geoseg {version}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
{body}
<script type="application/json" id="data">{data}</script>
{scripts}
</body>
</html>
"""

_ENDS_SCRIPT = re.compile(r"<(?:/script|!--)", re.IGNORECASE)


def page(
    title: str,
    body: str,
    *,
    data: Mapping[str, Any],
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
) -> str:
    """The HTML of a page in geoseg's style.

    body: HTML with an element ``id="main"``; what comes from outside went through `text` first.
    data: what JSON can say, which scripts find as ``page.data``.
    styles, scripts: names of files beside this one; they follow ``page.css`` and ``page.js``.

    Raises ValueError for data that JSON cannot say (nan is none).
    """
    code = [resource(name) for name in ("page.js", *scripts)]
    for source in code:
        if _ENDS_SCRIPT.search(source):
            raise ValueError("a script holds </script or <!--: inside a page it would end there")
    return _PAGE.format(
        policy=_POLICY.format(scripts=" ".join(map(_fingerprint, code)) or "'none'"),
        version=__version__,
        title=text(title),
        style="".join(resource(name) for name in ("page.css", *styles)),
        body=body,
        data=_embedded(data),
        scripts="\n".join(f"<script>{source}</script>" for source in code),
    )


def text(words: object) -> str:
    """`words` for the inside of an element or of a quoted attribute, whatever characters they hold."""
    # names of files may hold bytes that are no text
    return escape(str(words).encode("utf-8", "replace").decode())


def write_page(html: str, output: Path, *, overwrite: bool = False) -> Path:
    """Write a page as a whole or not at all. Raises OutputError."""
    with replacing(output, overwrite=overwrite) as scratch:
        scratch.write_text(html, encoding="utf-8", newline="\n")
    return output


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON in which no character can end the element around it."""
    said = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return said.replace("<", "\\u003c")


def _fingerprint(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def resource(name: str) -> str:
    """The text of a file beside this one."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
