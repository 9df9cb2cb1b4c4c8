"""Every format, read back by geopandas, pyarrow and GDAL's own tool."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import numpy as np
import pyarrow.parquet
import pyogrio
import pytest
import shapely
from affine import Affine
from geopandas import GeoDataFrame
from rasterio.crs import CRS

from geoseg.errors import ConfigError, SceneError
from geoseg.legend import Legend
from geoseg.options import PolygonOptions
from geoseg.polygons.styles import raster_style_qml
from geoseg.polygons.writers.registry import SUFFIXES
from tests.calls import vectorize

UTM = CRS.from_epsg(32632)
TRANSFORM = Affine(0.5, 0, 600000, 0, -0.5, 5800000)
LEGEND = Legend.of({"a & <b>": "#e6194b", "Größe": "#3cb44b", "never": "#4363d8"})
LABELS = np.random.default_rng(0).integers(0, 3, (30, 40), np.uint8).repeat(3, 0).repeat(3, 1)
PLACE = {"crs": UTM, "transform": TRANSFORM, "legend": LEGEND}

formats = pytest.mark.parametrize("suffix", SUFFIXES)


def write(path: Path, labels: np.ndarray = LABELS, **options: object) -> Path:
    vectorize(labels, path, **{**PLACE, **options})
    return path


def read(path: Path) -> GeoDataFrame:
    if path.suffix == ".parquet":
        return geopandas.read_parquet(path)
    return pyogrio.read_dataframe(path, layer="segments" if path.suffix == ".gpkg" else None)


def in_order(frame: GeoDataFrame) -> GeoDataFrame:
    """FlatGeobuf orders its features by place."""
    box = frame.geometry.bounds
    order = np.lexsort([frame["pixels"], box.maxy, box.minx, box.miny])
    return frame.iloc[order].reset_index(drop=True)


@pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s != ".geojson"])
def test_every_format_holds_what_the_frame_holds(tmp_path: Path, suffix: str) -> None:
    frame = vectorize(LABELS, **PLACE)
    assert isinstance(frame, GeoDataFrame)
    found = in_order(read(write(tmp_path / f"out{suffix}")))
    assert found.crs == frame.crs
    expected = in_order(frame)
    for column in expected.columns.drop("geometry"):
        same = found[column].eq(expected[column]) | (found[column].isna() & expected[column].isna())
        assert same.all(), column
    assert shapely.equals_exact(found.geometry.values, expected.geometry.values).all()


def test_geojson_is_longitude_and_latitude_counter_clockwise(tmp_path: Path) -> None:
    path = write(tmp_path / "out.geojson")
    text = json.loads(path.read_text())
    assert text["type"] == "FeatureCollection"
    assert "crs" not in text
    found = read(path)
    frame = vectorize(LABELS, **PLACE).to_crs(4326)
    assert found.crs.to_epsg() == 4326
    assert len(found) == len(frame)
    assert shapely.is_ccw(shapely.get_exterior_ring(found.geometry.values)).all()
    a, b = (in_order(f).geometry.values for f in (found, frame))
    assert shapely.hausdorff_distance(a, b).max() < 2e-8  # 2 mm
    assert json.loads(text["description"].removeprefix("geoseg: "))["scene"] == "labels"


def test_geojson_cannot_be_without_a_place(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="GeoJSON needs longitude and latitude"):
        write(tmp_path / "out.geojson", crs=None)
    assert list(tmp_path.iterdir()) == []


@formats
def test_an_empty_file_has_columns_crs_and_a_geometry_type(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"out{suffix}", np.zeros_like(LABELS))
    assert len(read(path)) == 0
    if suffix == ".parquet":
        geo = json.loads(pyarrow.parquet.read_metadata(path).metadata[b"geo"])
        assert geo["columns"]["geometry"]["geometry_types"] == ["Polygon"]
    elif suffix != ".geojson":  # which has no place for it
        info = pyogrio.read_info(path, layer="segments")
        assert info["geometry_type"] == "Polygon"
        assert "perimeter_m" in info["fields"]


def test_geoparquet_tells_extent_boxes_and_origin(tmp_path: Path) -> None:
    path = write(tmp_path / "out.parquet", provenance={"model": "m"})
    metadata = pyarrow.parquet.read_metadata(path).metadata
    column = json.loads(metadata[b"geo"])["columns"]["geometry"]
    assert column["bbox"] == [600000, 5799955, 600060, 5800000]
    part = geopandas.read_parquet(path, bbox=(600000, 5799990, 600005, 5800000))
    assert 0 < len(part) < len(read(path))
    record = json.loads(metadata[b"geoseg"])
    assert (record["model"], record["scene"]) == ("m", "labels")
    assert record["legend"] == LEGEND.to_json()


@pytest.mark.parametrize("suffix", [".fgb", ".geojson", ".parquet"])
def test_the_style_lies_beside_what_cannot_hold_it(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"out{suffix}")
    style = ElementTree.parse(tmp_path / "out.qml")
    assert [c.get("label") for c in style.iter("category")] == list(LEGEND.names[1:])


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="needs ogrinfo (Debian: gdal-bin)")
@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".geojson"])
def test_another_gdal_reads_all_polygons_without_a_warning(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"out{suffix}", polygons=PolygonOptions(simplify=1, smooth=2))
    seen = subprocess.run(
        ["ogrinfo", "-so", "-al", path], capture_output=True, text=True, check=False
    )
    assert (seen.returncode, seen.stderr) == (0, "")
    assert f"Feature Count: {len(vectorize(LABELS, **PLACE))}" in seen.stdout
    assert "Warning" not in seen.stdout


def test_the_crs_of_flatgeobuf_and_parquet_may_be_unknown(tmp_path: Path) -> None:
    for suffix in (".fgb", ".parquet"):
        assert read(write(tmp_path / f"out{suffix}", crs=None)).crs is None


@pytest.mark.parametrize("options", [{"append": True}, {"layer_per_class": True}])
def test_only_a_geopackage_has_layers_and_grows(tmp_path: Path, options: dict[str, bool]) -> None:
    with pytest.raises(ConfigError, match="needs a GeoPackage"):
        vectorize(LABELS, tmp_path / "out.fgb", **PLACE, **options)


def test_the_style_of_a_raster_of_the_same_name_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    style = tmp_path / "out.qml"
    style.write_text(raster_style_qml(LEGEND))
    write(tmp_path / "out.fgb")
    assert style.read_text() == raster_style_qml(LEGEND)
    assert "is the style of another file" in caplog.text
