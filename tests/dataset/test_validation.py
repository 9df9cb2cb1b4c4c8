"""Validation report: every issue of the input is reported."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.annotations.burn import Annotations
from geoseg.annotations.validation import Action, IssueKind, ValidationReport, summarize
from geoseg.dataset.folder import Dataset
from geoseg.dataset.validate import find_duplicates
from geoseg.errors import AnnotationError, SkippedInputsError
from geoseg.tools.info import describe, info
from tests.calls import prepare
from tests.dataset.issues import count_issues
from tests.dota_folder import PLANE, SHIP, Thing, add


def test_every_issue_of_a_folder_is_counted_reported_and_resolved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x0, y0, x1, y1 = *SHIP.corners[:2], *SHIP.corners[4:6]
    again = Thing((x1, y0, x1, y1, x0, y1, x0, y0), "ship")  # starts at another corner
    other = Thing(SHIP.corners, "harbor")
    crossed = Thing((60, 40, 80, 60, 80, 40, 60, 60), "ship")
    line = Thing((5, 5, 9, 9, 5, 5, 9, 9), "ship")
    outside = Thing((100, 0, 120, 0, 120, 20, 100, 20), "ship")
    over = Thing((90, 60, 130, 60, 130, 70, 90, 70), "ship")
    things = [SHIP, again, other, PLANE, outside, over]
    image = add(tmp_path / "dota", "a", things)
    with (tmp_path / "dota" / "labelTxt" / "a.txt").open("a", encoding="utf-8") as text:
        for thing in (crossed, line):  # write_dota would order their corners
            text.write(" ".join(map(str, thing.corners)) + f" {thing.name} 0\n")
    add(tmp_path / "dota", "b", [])
    shutil.copy(image, tmp_path / "dota" / "images" / "b.png")
    out = prepare(tmp_path / "dota", tmp_path / "out", difficult="drop")
    expected = {
        ("duplicate image", "kept"): 1,
        ("duplicate object", "left out"): 1,
        ("object outside its scene", "left out"): 1,
        ("object cut by the scene edge", "kept"): 1,
        ("self-intersecting outline", "repaired"): 1,
        ("object without area", "left out"): 1,
        ("difficult object", "left out"): 1,
        ("class missing in a split", "kept"): 2,
    }
    for (kind, done), count in expected.items():
        assert sum(count_issues(out, kind, done).values()) == count, kind
    lines = json.loads((out / "report.json").read_text(encoding="utf-8"))["summary"]
    assert {(line["kind"], line["done"]): line["count"] for line in lines} == expected
    for kind, _ in expected:
        assert kind in caplog.text
    assert Dataset.open(out).layers["quads"].objects["ship"] == 3
    facts = info(out)
    assert facts["found"]["duplicate object"] == {"left out": 1}
    assert "found: duplicate object" in describe(facts)


def test_without_issues_there_is_no_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(tmp_path / "dota", "a")
    out = prepare(tmp_path / "dota", tmp_path / "out")
    assert "validation report" not in caplog.text
    assert info(out)["found"] == {}
    (out / "report.json").unlink()  # as in a dataset of an early version
    assert info(out)["found"] == {}


def test_input_that_is_left_out_is_in_the_report(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a")
    add(tmp_path / "dota", "b").unlink()
    (tmp_path / "dota" / "labelTxt" / "c.txt").write_text("", encoding="utf-8")
    add(tmp_path / "dota", "d")
    (tmp_path / "dota" / "labelTxt" / "d.txt").unlink()
    with pytest.raises(SkippedInputsError):
        prepare(tmp_path / "dota", tmp_path / "out", skip_bad=True)
    assert sum(count_issues(tmp_path / "out", "labels without image", "left out").values()) == 2
    assert sum(count_issues(tmp_path / "out", "image without labels", "left out").values()) == 1


def test_overlapping_scenes_in_two_splits_are_reported(tmp_path: Path) -> None:
    for split, left in {"train": 0, "val": 90, "test": 190}.items():
        place = Affine(1, 0, 1000 + left, 0, -1, 5000)
        add(tmp_path / "dota" / split, split, suffix=".tif", crs="EPSG:32631", transform=place)
    out = prepare(tmp_path / "dota", tmp_path / "out")
    assert list(count_issues(out, "overlapping scenes in two splits", "kept")) == [
        "in train, with val in val"
    ]


def test_self_intersecting_outlines_are_repaired_and_reported(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a")
    path = tmp_path / "outlines.parquet"
    bow = shapely.Polygon([(0, 0), (20, 20), (20, 0), (0, 20)])
    gpd.GeoDataFrame({"image": ["a"], "category": "ship"}, geometry=[bow]).to_parquet(path)
    out = prepare(tmp_path / "dota", tmp_path / "out", outlines=path)
    assert count_issues(out, "self-intersecting outline", "repaired") == {"outlines": 1}
    (repaired,) = Dataset.open(out).annotations()["a"].geometry
    assert repaired.is_valid
    assert repaired.area == pytest.approx(200)


def test_images_are_duplicates_only_if_their_bytes_are_equal(tmp_path: Path) -> None:
    one = add(tmp_path / "dota", "a", suffix=".tif")
    two = add(tmp_path / "dota", "b", suffix=".tif")
    with rasterio.open(two, "r+") as image:
        image.write(255 - image.read())
    assert one.stat().st_size == two.stat().st_size
    assert not count_issues(prepare(tmp_path / "dota", tmp_path / "out"), "duplicate image", "kept")


boxes = st.tuples(*[st.integers(0, 3)] * 2, *[st.integers(4, 6)] * 2)


@given(st.lists(st.tuples(boxes, st.integers(1, 2), st.integers(0, 3)), max_size=30))
def test_an_object_is_a_duplicate_if_class_and_area_equal_those_of_an_earlier_one(
    drawn: list[tuple[tuple[int, int, int, int], int, int]],
) -> None:
    shapes = np.empty(len(drawn), object)
    for n, ((left, top, right, bottom), _, first) in enumerate(drawn):
        ring = [(left, top), (right, top), (right, bottom), (left, bottom)]
        shapes[n] = shapely.Polygon(ring[first:] + ring[:first])
    ids = np.array([number for _, number, _ in drawn], np.uint8)
    again = find_duplicates(Annotations(shapes, ids, np.zeros(len(drawn), bool)))
    keys = [(box, number) for box, number, _ in drawn]
    assert again.tolist() == [key in keys[:n] for n, key in enumerate(keys)]


def test_issues_are_summed_over_threads_and_sorted() -> None:
    def filled(jobs: int) -> ValidationReport:
        report = ValidationReport()

        def add_some(number: int) -> None:
            for kind in (IssueKind.NO_AREA, IssueKind.OUTSIDE):
                report.add(kind, f"{number % 7}.txt", Action.LEFT_OUT, count=number % 3)

        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(add_some, range(300)))
        return report

    assert list(filled(1)) == list(filled(8))
    assert [line["count"] for line in summarize(filled(8))] == [300, 300]
    assert [line["files"] for line in summarize(filled(8))] == [7, 7]


def test_a_rejected_input_is_an_error_or_becomes_an_issue() -> None:
    fault = AnnotationError("a.txt: has no image. add it")
    strict, lenient = ValidationReport(), ValidationReport(skip=True)
    for report in (strict, lenient):
        report.reject(fault, IssueKind.NO_IMAGE)
    with pytest.raises(AnnotationError, match=r"a\.txt"):
        strict.raise_rejected()
    lenient.raise_rejected()
    (only,) = lenient
    assert (only.kind, only.file, only.action) == (IssueKind.NO_IMAGE, "a.txt", Action.LEFT_OUT)
