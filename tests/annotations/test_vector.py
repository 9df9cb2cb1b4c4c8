"""Vector files: every format returns the same polygons."""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine

from geoseg.annotations.readers import NamedAnnotations, ReaderOptions, derive_legend
from geoseg.annotations.validation import IssueKind, ValidationReport
from geoseg.annotations.vector import read_vector
from geoseg.dataset.images import inspect_image
from geoseg.errors import AnnotationError, SceneError
from tests.scenes import UTM, picture, write_scene

SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", ".parquet", ".geoparquet")


def at(columns: float) -> dict[str, object]:
    return {**UTM, "transform": UTM["transform"] @ Affine.translation(columns, 0)}


def scenes(folder: Path) -> list[Path]:
    return [write_scene(folder / f"{x}.tif", picture(60, 80), **at(x)) for x in (0, 50, 400)]


def table() -> gpd.GeoDataFrame:
    """Two sheds on the first scene, one of them on the second too, and one on none."""
    boxes = [(5, 5, 20, 30), (60, 10, 75, 20), (300, 5, 310, 20)]
    left, top, side = UTM["transform"].c, UTM["transform"].f, UTM["transform"].a
    return gpd.GeoDataFrame(
        {"class": ["shed", "pond", "shed"], "difficult": [0, 1, 0]},
        geometry=[
            shapely.box(left + x * side, top - y1 * side, left + x1 * side, top - y * side)
            for x, y, x1, y1 in boxes
        ],
        crs=UTM["crs"],
    )


def save(frame: gpd.GeoDataFrame, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix in (".parquet", ".geoparquet"):
            frame.to_parquet(path)
        else:
            frame.to_file(path, engine="pyogrio")
    return path


def read(
    path: Path, images: list[Path], report: ValidationReport | None = None
) -> list[NamedAnnotations]:
    found = ValidationReport() if report is None else report
    return read_vector(path, [inspect_image(i) for i in images], ReaderOptions(), found)


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_and_crs_gives_the_polygons_of_each_scene(
    tmp_path: Path, suffix: str, crs: str
) -> None:
    path = save(table().to_crs(crs), tmp_path / f"drawn{suffix}")
    report = ValidationReport()
    first, second, third = read(path, scenes(tmp_path), report)
    order = np.argsort(first.name)  # FlatGeobuf has its own order
    expected = np.array([shapely.box(60, 10, 75, 20), shapely.box(5, 5, 20, 30)], object)
    off = shapely.hausdorff_distance(first.geometry[order], expected)
    assert off.max() < 0.01
    assert first.name[order].tolist() == ["pond", "shed"]
    assert first.difficult[order].tolist() == [True, False]
    assert second.name.tolist() == ["pond"]
    np.testing.assert_allclose(second.geometry[0].bounds, (10, 10, 25, 20), atol=0.01)
    assert len(third) == 0
    assert [(f.kind, f.count) for f in report] == [(IssueKind.ON_NO_SCENE, 1)]


def test_other_geometries_and_self_intersections_are_reported(tmp_path: Path) -> None:
    frame = table()
    bow = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    left, top = UTM["transform"].c, UTM["transform"].f
    moved = shapely.transform(bow, lambda xy: xy * (1, -1) + (left, top))
    frame.loc[3] = {"class": "shed", "difficult": 0, "geometry": moved}
    frame.loc[4] = {"class": "shed", "difficult": 0, "geometry": moved.centroid}
    report = ValidationReport()
    first, *_ = read(save(frame, tmp_path / "drawn.gpkg"), scenes(tmp_path), report)
    assert shapely.is_valid(first.geometry).all()
    assert {f.kind: f.count for f in report} == {
        IssueKind.ON_NO_SCENE: 1,
        IssueKind.INVALID_RING: 1,
        IssueKind.NOT_A_POLYGON: 1,
    }


def test_two_scenes_without_georeference_are_refused(tmp_path: Path) -> None:
    plain = [write_scene(tmp_path / f"{n}.tif", picture(60, 80)) for n in range(2)]
    with pytest.raises(SceneError, match="so the scenes overlap"):
        read(save(table(), tmp_path / "drawn.gpkg"), plain)


def test_an_error_names_the_coordinates_of_an_image_without_georeference(tmp_path: Path) -> None:
    image = write_scene(tmp_path / "plain.tif", picture(60, 80))
    below = gpd.GeoDataFrame({"class": ["shed"]}, geometry=[shapely.box(5, -30, 20, -5)])
    above = gpd.GeoDataFrame({"class": ["shed"]}, geometry=[shapely.box(5, 5, 20, 30)])
    (inside,) = read(save(below, tmp_path / "below.gpkg"), [image])
    assert inside.geometry[0].bounds == (5, 5, 20, 30)
    with pytest.raises(AnnotationError, match="x = column, y = -row"):
        read(save(above, tmp_path / "above.gpkg"), [image])


def test_ground_drawn_as_ignored_is_ignored(tmp_path: Path) -> None:
    frame = table()
    frame.loc[1, "class"] = "ignore"
    first, *_ = read(save(frame, tmp_path / "drawn.gpkg"), scenes(tmp_path))
    legend = derive_legend([first])
    assert legend.names == ("background", "shed")
    assert first.to_annotations(legend).class_id.tolist() == [1, 255]


def test_polygons_are_brought_into_the_crs_of_all_scenes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    moves: list[object] = []
    to_crs = gpd.GeoDataFrame.to_crs

    def counted(frame: gpd.GeoDataFrame, crs: object) -> gpd.GeoDataFrame:
        moves.append(crs)
        return to_crs(frame, crs)

    path = save(table().to_crs("EPSG:4326"), tmp_path / "drawn.gpkg")
    bare = save(table().set_crs(None, allow_override=True), tmp_path / "bare.gpkg")
    monkeypatch.setattr(gpd.GeoDataFrame, "to_crs", counted)
    images = scenes(tmp_path)
    assert [len(part) for part in read(path, images)] == [2, 1, 0]
    assert len(moves) == 1
    assert [len(part) for part in read(bare, images)] == [2, 1, 0]
    assert caplog.text.count("no CRS") == 1
