"""``import geoseg`` offers the tools by their names, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import geoseg


@pytest.mark.parametrize("name", [name for name in geoseg.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_is_no_module(name: str) -> None:
    assert callable(getattr(geoseg, name))
    assert name in dir(geoseg)


@pytest.mark.parametrize(
    "order",
    [
        "import geoseg; tool = geoseg.vectorize",
        "import geoseg.tools.vectorize; tool = geoseg.vectorize",
        "from geoseg.tools.vectorize import vectorize; import geoseg; tool = geoseg.vectorize",
        "from geoseg import vectorize as tool",
    ],
)
def test_a_tool_is_not_hidden_by_its_module(order: str) -> None:
    subprocess.run(
        [sys.executable, "-c", f"{order}\nassert tool.__name__ == 'vectorize'"], check=True
    )


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'polygonise'"):
        geoseg.polygonise
