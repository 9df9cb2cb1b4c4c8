"""Boxes as DOTA result text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine

from geoseg.errors import OutputError
from geoseg.legend import Legend
from geoseg.options import PolygonOptions
from tests.calls import vectorize

LEGEND = Legend.of({"plane": "#e6194b", "small/vehicle": "#3cb44b"})
LABELS = np.zeros((20, 30), np.uint8)
LABELS[2:6, 3:11] = 1
LABELS[10:12, 20:22] = 2
LABELS[15, 5] = 2


def test_a_line_is_image_score_and_four_corners_in_pixels(tmp_path: Path) -> None:
    confidence = np.full(LABELS.shape, 150, np.uint8)
    folder = tmp_path / "results"
    vectorize(
        LABELS, tmp_path / "o.gpkg", confidence=confidence, legend=LEGEND, name="P0003.png",
        transform=Affine(9, 0, 7, 0, -9, 7), dota_results=folder, polygons=PolygonOptions(min_pixels=2),
    )  # fmt: skip
    names = {file.name for file in folder.iterdir()}
    assert names == {"Task1_plane.txt", "Task1_small_vehicle.txt"}
    image, score, *corners = (folder / "Task1_plane.txt").read_text().split()
    assert (image, float(score)) == ("P0003", 0.75)
    box = shapely.Polygon(np.array(corners, float).reshape(4, 2))
    assert box.equals(shapely.box(3, 2, 11, 6))
    assert len((folder / "Task1_small_vehicle.txt").read_text().splitlines()) == 1


def test_results_of_further_images_are_added_and_nothing_is_lost(tmp_path: Path) -> None:
    folder, out = tmp_path / "results", tmp_path / "o.gpkg"
    given = {"legend": LEGEND, "dota_results": folder}
    vectorize(LABELS, out, name="one", **given)
    before = (folder / "Task1_plane.txt").read_text()
    with pytest.raises(OutputError, match="exists already"):
        vectorize(LABELS, tmp_path / "p.gpkg", name="two", **given)
    assert (folder / "Task1_plane.txt").read_text() == before
    assert not (tmp_path / "p.gpkg").exists()
    vectorize(LABELS, out, name="two", append=True, **given)
    lines = (folder / "Task1_plane.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["one", "two"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.gpkg", "results"]
