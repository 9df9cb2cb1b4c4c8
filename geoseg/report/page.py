"""Self-contained HTML pages: one file without network access, frameworks or sidecar files."""

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
from geoseg.files import write_text

# The page carries its own policy: whatever the data hold, only our scripts run and nothing is fetched.
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


def render_page(
    title: str,
    body: str,
    *,
    data: Mapping[str, Any],
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
) -> str:
    """Render the HTML of a page in the style of geoseg.

    Parameters
    ----------
    title
        Title of the page; escaped here.
    body
        HTML with an element ``id="main"``. Text from outside must have been escaped with `escape_text`.
    data
        JSON data that the scripts read as ``page.data``.
    styles, scripts
        Names of files in ``assets/``; they follow ``page.css`` and ``page.js``.

    Raises
    ------
    ValueError
        If the data are not valid JSON (NaN is not), or if a script contains ``</script``.
    """
    code = [read_asset(name) for name in ("page.js", *scripts)]
    for source in code:
        if _ENDS_SCRIPT.search(source):
            raise ValueError("a script contains </script or <!--, which would end it in a page")
    return _PAGE.format(
        policy=_POLICY.format(scripts=" ".join(map(_hash_source, code)) or "'none'"),
        version=__version__,
        title=escape_text(title),
        style="".join(read_asset(name) for name in ("page.css", *styles)),
        body=body,
        data=_embed_json(data),
        scripts="\n".join(f"<script>{source}</script>" for source in code),
    )


def escape_text(text: object) -> str:
    """Escape text for the inside of an element or of a quoted attribute."""
    # file names may contain bytes that are not valid text
    return escape(str(text).encode("utf-8", "replace").decode())


def write_page(html: str, output: Path, *, overwrite: bool = False) -> Path:
    """Write a page completely or not at all.

    Raises
    ------
    OutputError
        If `output` exists and `overwrite` is off, or if it cannot be written.
    """
    write_text(output, html, overwrite=overwrite)
    return output


def read_asset(name: str) -> str:
    """Return the text of a file in ``assets/``."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _embed_json(data: Mapping[str, Any]) -> str:
    """Serialize data so that no character can end the surrounding element."""
    serialized = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return serialized.replace("<", "\\u003c")


def _hash_source(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
