"""Classes and colours of polygons are read from files of geoseg, QGIS and other tools."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geoseg.errors import SceneError
from geoseg.legend import DOTA_V1, Legend
from geoseg.polygons.styles import layer_style_qml, parse_qml
from geoseg.report.features import read_features
from tests.calls import vectorize
from tests.scenes import UTM, write_scene

LEGEND = Legend.of({'a "b" & <c>': "#e6194b", "grün 船": "#3cb44b"})


def write_boxes(path: Path, layer: str | None = None, **columns: list[object]) -> Path:
    count = len(next(iter(columns.values())))
    boxes = [shapely.box(k, 0, k + 1, 1) for k in range(count)]
    table = gpd.GeoDataFrame(columns, geometry=boxes, crs=32633)
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_file(path, layer=layer or path.stem, mode="a" if path.exists() else "w")
    return path


def kinds(path: Path, class_column: str | None = None) -> dict[str, str]:
    return {c.name: c.colour for c in read_features(path, class_column=class_column).classes}


def test_a_style_of_geoseg_is_read_with_names_and_colours() -> None:
    style = parse_qml(layer_style_qml(LEGEND))
    assert style is not None
    assert style.column == "class_id"
    assert style.names == {"1": 'a "b" & <c>', "2": "grün 船"}
    assert style.colours == {"1": "#e6194b", "2": "#3cb44b"}


@pytest.mark.parametrize("qml", ["", "<qgis", "<qgis/>", '<!DOCTYPE a [<!ENTITY b "c">]><qgis/>'])
def test_a_style_without_classes_is_none(qml: str) -> None:
    assert parse_qml(qml) is None


@pytest.mark.parametrize(
    ("suffix", "by_class"),
    [(".gpkg", False), (".gpkg", True), (".fgb", False), (".parquet", False), (".geojson", False)],
)
def test_files_of_geoseg_are_shown_in_the_colours_of_their_legend(
    tmp_path: Path, suffix: str, by_class: bool
) -> None:
    labels = np.zeros((1, 40, 40), np.uint8)
    labels[0, 5:10, 5:10], labels[0, 20:30, 20:35] = 1, 5
    write_scene(tmp_path / "labels.tif", labels, **UTM)
    out = vectorize(
        tmp_path / "labels.tif",
        tmp_path / f"out{suffix}",
        legend=DOTA_V1,
        layer_per_class=by_class,
    )
    assert kinds(out) == {"plane": DOTA_V1[1].colour, "tennis-court": DOTA_V1[5].colour}
    found = read_features(out)
    assert sorted(found.columns["pixels"].tolist()) == [25, 150]
    assert "class" not in found.columns


def test_files_without_style_get_the_colours_of_known_classes_and_new_ones(tmp_path: Path) -> None:
    found = kinds(write_boxes(tmp_path / "a.gpkg", label=["ship", "house", "house"]))
    assert found["ship"] == DOTA_V1[DOTA_V1.id_of("ship")].colour
    assert len(set(found.values())) == 2


def test_the_class_column_can_be_named(tmp_path: Path) -> None:
    path = write_boxes(tmp_path / "a.gpkg", label=["x", "y"], use=[2.0, None])
    assert list(kinds(path, class_column="use")) == ["(no class)", "2"]
    with pytest.raises(SceneError, match=r"no column 'usage'\. Choose one of: .*label, use"):
        read_features(path, class_column="usage")


def test_without_classes_all_have_the_name_of_their_layer(tmp_path: Path) -> None:
    assert list(kinds(write_boxes(tmp_path / "a.gpkg", "roofs", height=[3.5, 4]))) == ["roofs"]


def test_several_layers_are_shown_together_or_by_choice(tmp_path: Path) -> None:
    path = write_boxes(tmp_path / "a.gpkg", "one", label=["x", "y"])
    write_boxes(path, "two", label=["x"], extra=["more"])
    found = read_features(path)
    assert len(found) == 3
    assert found.columns["layer"].tolist() == ["one", "one", "two"]
    assert found.columns["extra"].tolist() == [None, None, "more"]
    assert len(read_features(path, layers=["two"])) == 1
    with pytest.raises(SceneError, match=r"no layer 'three'\. Choose one of: one, two"):
        read_features(path, layers=["three"])


def test_features_that_are_not_polygons_are_reported(tmp_path: Path) -> None:
    shapes = [shapely.Point(0, 0), shapely.box(0, 0, 1, 1), shapely.Polygon()]
    gpd.GeoDataFrame(geometry=shapes, crs=32633).to_file(tmp_path / "a.gpkg")
    found = read_features(tmp_path / "a.gpkg")
    assert len(found) == 1
    assert found.notes == ("2 features are not polygons and are not shown.",)


def test_polygons_with_coordinates_out_of_range_are_reported(tmp_path: Path) -> None:
    far = shapely.box(1e300, 0, 2e300, 1)
    shapes = [shapely.Point(0, 0), far, shapely.box(0, 0, 1, 1)]
    gpd.GeoDataFrame(geometry=shapes, crs=32633).to_file(tmp_path / "a.gpkg")
    found = read_features(tmp_path / "a.gpkg")
    assert found.geometry.tolist() == [shapes[2]]
    assert found.notes[1] == "1 polygons have coordinates out of range and are not shown."
    gpd.GeoDataFrame(geometry=[far], crs=32633).to_file(tmp_path / "b.gpkg")
    with pytest.raises(SceneError, match="coordinates out of range"):
        read_features(tmp_path / "b.gpkg")


@pytest.mark.parametrize(
    "content", [b"<OGRVRTDataSource></OGRVRTDataSource>", b"%PDF", b"SQLite format 3\0 cut", b"{}"]
)
def test_a_file_without_polygons_is_refused_with_a_message(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gpkg").write_bytes(content)
    with pytest.raises(SceneError, match=r"a\.gpkg: "):
        read_features(tmp_path / "a.gpkg")
