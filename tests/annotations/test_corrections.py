"""Corrections: what is an object, what is background, and what is no annotation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoseg.annotations.burn import burn
from geoseg.annotations.corrections import ACCEPTED, REJECTED, apply_corrections
from geoseg.annotations.readers import NamedAnnotations, ReaderOptions
from geoseg.annotations.validation import IssueKind, ValidationReport, summarize
from geoseg.annotations.vector import read_vector
from geoseg.dataset.images import inspect_image
from geoseg.errors import AnnotationError
from geoseg.legend import IGNORE, Legend
from tests.scenes import UTM, picture, write_scene

LEGEND = Legend.of({"shed": "#e6194b", "pond": "#3cb44b"})
SIDE = 24

polygons = st.lists(
    st.tuples(
        st.integers(0, SIDE - 6), st.integers(0, SIDE - 6), st.integers(1, 6), st.integers(1, 6),
        st.sampled_from(["", ACCEPTED, REJECTED]),
    ),
    max_size=8,
)  # fmt: skip


def corrections(items: list[tuple[Any, ...]], frames: Any = None) -> NamedAnnotations:
    boxes = np.array([shapely.box(x, y, x + w, y + h) for x, y, w, h, _ in items], object)
    count = len(items)
    return NamedAnnotations(
        boxes.reshape(count), np.array(["shed"] * count, object), np.zeros(count, bool),
        status=np.array([status for *_, status in items], object), area=frames,
    )  # fmt: skip


@given(polygons, st.none() | st.tuples(*[st.integers(0, SIDE // 2)] * 4))
def test_labels_are_as_documented(
    items: list[tuple[Any, ...]], corner: tuple[int, ...] | None
) -> None:
    frames = None
    expected = np.full((SIDE, SIDE), IGNORE, np.uint8)
    if corner is not None:
        x, y, w, h = corner
        frames = shapely.box(x, y, x + w + 1, y + h + 1)
        expected[y : y + h + 1, x : x + w + 1] = 0
    for x, y, w, h, status in items:
        if status:
            expected[y : y + h, x : x + w] = 0
    inside = expected == 0
    for x, y, w, h, status in items:
        part = np.zeros_like(inside)
        part[y : y + h, x : x + w] = True
        framed = np.zeros_like(inside)
        if corner is not None:
            framed[corner[1] : corner[1] + corner[3] + 1, corner[0] : corner[0] + corner[2] + 1] = 1
        if status == ACCEPTED or (status == "" and (part & framed).any()):
            expected[part & inside] = 1
    found = apply_corrections(corrections(items, frames), Path("f"), "s", ValidationReport())
    np.testing.assert_array_equal(burn(found.to_annotations(LEGEND), SIDE, SIDE), expected)


def test_the_report_counts_what_was_reviewed() -> None:
    items = [(0, 0, 2, 2, ACCEPTED), (4, 0, 2, 2, REJECTED), (8, 0, 2, 2, ""), (0, 8, 2, 2, "")]
    report = ValidationReport()
    part = corrections(items, shapely.box(0, 8, 4, 12))
    found = apply_corrections(part, Path("f.gpkg"), "s", report)
    assert len(found) == 2
    counts = {line["kind"]: (line["count"], line["done"]) for line in summarize(report)}
    assert counts == {
        IssueKind.ACCEPTED: (1, "kept"),
        IssueKind.REJECTED: (1, "kept"),
        IssueKind.NOT_REVIEWED: (1, "left out"),
    }


def test_without_corrections_annotations_stay_as_they_are() -> None:
    part = NamedAnnotations(np.array([shapely.box(0, 0, 2, 2)], object), *[np.array([""])] * 2)
    assert apply_corrections(part, Path("f"), "s", ValidationReport()) is part


def read(path: Path, **columns: Any) -> NamedAnnotations:
    """Read three polygons of a file with these columns, on one scene."""
    scene = write_scene(path / "scene.tif", picture(60, 80), **UTM)
    left, top, side = UTM["transform"].c, UTM["transform"].f, UTM["transform"].a
    boxes = [
        shapely.box(left + x * side, top - 20 * side, left + (x + 8) * side, top - 10 * side)
        for x in (10, 30, 50)
    ]
    table = gpd.GeoDataFrame({"class": ["shed"] * 3} | columns, geometry=boxes, crs=UTM["crs"])
    table.to_file(path / "edited.gpkg", layer="segments", engine="pyogrio")
    (part,) = read_vector(
        path / "edited.gpkg", [inspect_image(scene)], ReaderOptions(), ValidationReport()
    )
    return part


def test_the_status_is_read_whatever_its_case(tmp_path: Path) -> None:
    part = read(tmp_path, status=["Accepted ", None, "REJECTED"])
    assert part.status is not None
    assert part.status.tolist() == [ACCEPTED, "", REJECTED]


@pytest.mark.parametrize("status", [[None] * 3, ["", " ", None]])
def test_an_empty_column_is_none(tmp_path: Path, status: list[str | None]) -> None:
    assert read(tmp_path, status=status).status is None


def test_a_rejected_polygon_needs_no_class(tmp_path: Path) -> None:
    part = read(tmp_path, **{"class": ["shed", None, "pond"]}, status=["accepted", "rejected", ""])
    assert part.name.tolist()[::2] == ["shed", "pond"]
    numbers = read(tmp_path, **{"class": [1, None, 2]}, status=["accepted", "rejected", ""])
    assert numbers.name.tolist()[::2] == ["1", "2"]
    with pytest.raises(AnnotationError, match="1 polygons have no class"):
        read(tmp_path, **{"class": ["shed", None, "pond"]}, status=["accepted", "accepted", ""])


@pytest.mark.parametrize(
    ("status", "shown"), [(["ok", "accepted", None], "'ok'"), ([1, 2, 3], "1")]
)
def test_an_unknown_status_is_an_error_with_its_place(
    tmp_path: Path, status: list[Any], shown: str
) -> None:
    with pytest.raises(AnnotationError) as caught:
        read(tmp_path, status=status)
    message = str(caught.value)
    assert "edited.gpkg: column status of" in message
    assert shown in message
    assert "of feature 1" in message
    assert "rename the column" in message
