"""The GeoPackage, read back by SQLite, geopandas and GDAL's own tool."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.crs import CRS
from rasterio.features import rasterize

from geoseg.legend import Legend
from geoseg.options import PolygonOptions
from geoseg.polygons.table import AttributeTable, Polygons, extract_polygons
from geoseg.polygons.writers.gpkg import (
    PROVENANCE_URI,
    add_layer_style,
    append_polygons,
    write_geopackage,
)
from geoseg.polygons.writers.ogr import LayerLayout

UTM = CRS.from_epsg(32632)
TRANSFORM = Affine(0.5, 0, 600000, 0, -0.5, 5800000)
LEGEND = Legend.of({"<a & b>": "#e6194b", 'it\'s "quoted"': "#3cb44b", "Größe ✈": "#4363d8"})
LABELS = np.array(
    [
        [0, 0, 1, 1, 1, 255],
        [2, 0, 1, 0, 1, 255],
        [2, 0, 1, 1, 1, 0],
        [0, 3, 0, 0, 0, 0],
    ],
    np.uint8,
)
CONFIDENCE = np.where(LABELS == 1, 130, np.where(LABELS == 2, 200, 67)).astype(np.uint8)


ONE_LAYER = LayerLayout()
TABLE = AttributeTable(LEGEND, UTM, TRANSFORM, "scene.tif")


def write(
    path: Path,
    labels: np.ndarray = LABELS,
    *,
    confidence: np.ndarray | None = None,
    options: PolygonOptions = PolygonOptions(),
    table: AttributeTable = TABLE,
    layout: LayerLayout = ONE_LAYER,
    append: bool = False,
) -> int:
    tool = append_polygons if append else write_geopackage
    return tool(path, extract_polygons([(labels, confidence)]), table, options, layout)


def sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(statement).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.gpkg"


def test_the_table_has_what_a_polygon_is_known_by(path: Path) -> None:
    confidence = CONFIDENCE.copy()
    confidence[0, 2] = 50
    assert write(path, confidence=confidence) == 3
    table = geopandas.read_file(path, layer="segments").set_index("class_id").sort_index()
    assert list(table.columns) == [
        "id", "class", "confidence", "confidence_min", "pixels", "area_m2", "perimeter_m",
        "box_length_m", "box_width_m", "box_angle", "scene", "touches_edge", "geometry",
    ]  # fmt: skip
    assert list(table["class"]) == list(LEGEND.names[1:])
    assert list(table["confidence"]) == [0.6, 1.0, 0.335]  # (7 * 130 + 50) / 8 / 200
    assert list(table["confidence_min"]) == [0.25, 1.0, 0.335]
    assert list(table["pixels"]) == [8, 2, 1]
    # the ground is up to 0.1 % larger than UTM
    assert list(table["area_m2"]) == pytest.approx([2.0, 0.5, 0.25], rel=1e-3)
    assert list(table.area) == [2.0, 0.5, 0.25]
    assert list(table.length) == [8.0, 3.0, 2.0]
    assert list(table["perimeter_m"]) == pytest.approx([8.0, 3.0, 2.0], rel=1e-3)
    assert sorted(table["id"]) == [1, 2, 3]
    assert (table["box_length_m"] * table["box_width_m"] >= table["area_m2"] - 1e-3).all()
    assert list(table["touches_edge"]) == [True, True, True]
    assert set(table["scene"]) == {"scene.tif"}
    assert table.crs.to_epsg() == 32632


def test_without_a_confidence_raster_confidence_is_null(path: Path) -> None:
    write(path)
    assert sql(path, "SELECT DISTINCT confidence, confidence_min FROM segments") == [(None, None)]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.sampled_from([0, 1, 2, 3, 255]),
    )
)
def test_burning_the_polygons_gives_the_labels_back(tmp_path: Path, labels: np.ndarray) -> None:
    path = tmp_path / "out.gpkg"
    path.unlink(missing_ok=True)
    count = write(path, labels)
    table = pyogrio.read_dataframe(path, layer="segments")
    assert len(table) == count
    assert shapely.is_valid(table.geometry.values).all()
    pairs = list(zip(table.geometry, table["class_id"], strict=True))
    burned = (
        rasterize(pairs, labels.shape, transform=TRANSFORM, dtype="uint8")
        if pairs
        else np.zeros_like(labels)
    )
    assert (burned == np.where(labels == 255, 0, labels)).all()


def test_small_polygons_can_be_left_out(path: Path) -> None:
    assert write(path, options=PolygonOptions(min_pixels=2)) == 2
    assert sql(path, "SELECT class_id, pixels FROM segments ORDER BY 1") == [(1, 8), (2, 2)]


def test_an_empty_layer_is_still_a_polygon_layer_with_style_and_crs(path: Path) -> None:
    assert write(path, np.zeros((4, 4), np.uint8)) == 0
    info = pyogrio.read_info(path, layer="segments")
    assert (info["features"], info["geometry_type"], info["crs"]) == (0, "Polygon", "EPSG:32632")
    assert len(sql(path, "SELECT * FROM layer_styles")) == 1


def test_the_style_is_found_by_the_query_that_qgis_asks(path: Path) -> None:
    write(path)
    add_layer_style(path, LEGEND, layer="segments")  # again: replaces
    ((qml,),) = sql(
        path,
        "SELECT styleQML FROM layer_styles WHERE f_table_schema='' AND f_table_name='segments'"
        " AND f_geometry_column='geom' AND useAsDefault",
    )
    labels = [c.get("label") for c in ElementTree.fromstring(qml).iter("category")]
    assert labels == list(LEGEND.names[1:])
    assert sql(path, "SELECT column_name FROM gpkg_geometry_columns") == [("geom",)]


def test_provenance_is_json_in_the_metadata_tables(path: Path) -> None:
    provenance = {"model": "größe.safetensors", "geoseg": "0.1", "command": "geoseg segment 'a b'"}
    write(path, layout=LayerLayout(provenance=provenance))
    ((text, mime, scope, table),) = sql(
        path,
        "SELECT metadata, mime_type, reference_scope, table_name FROM gpkg_metadata JOIN"
        f" gpkg_metadata_reference ON id = md_file_id WHERE md_standard_uri = '{PROVENANCE_URI}'",
    )
    assert json.loads(text) == {**provenance, "scene": "scene.tif", "legend": LEGEND.to_json()}
    assert (mime, scope, table) == ("application/json", "table", "segments")


def test_the_file_is_sound_indexed_and_knows_its_extent(path: Path) -> None:
    write(path, layout=LayerLayout(provenance={"model": "m"}))
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]
    assert sql(path, "PRAGMA foreign_key_check") == []
    assert sql(path, "SELECT count(*) FROM rtree_segments_geom") == [(3,)]
    assert sql(path, "SELECT feature_count FROM gpkg_ogr_contents") == [(3,)]
    contents = "SELECT min_x, min_y, max_x, max_y, identifier FROM gpkg_contents"
    row = (600000, 5799998, 600002.5, 5800000, "scene.tif: segments")
    assert sql(path, f"{contents} WHERE data_type = 'features'") == [row]


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="needs ogrinfo (Debian: gdal-bin)")
def test_another_gdal_reads_it_without_a_warning(path: Path) -> None:
    write(path, layout=LayerLayout(provenance={"model": "m.safetensors"}))
    seen = subprocess.run(
        ["ogrinfo", "-so", path, "segments"], capture_output=True, text=True, check=True
    )
    assert seen.stderr == ""
    assert "Warning" not in seen.stdout
    assert "Feature Count: 3" in seen.stdout
    assert '{"model": "m.safetensors", "scene": "scene.tif"' in seen.stdout


ALBERS = CRS.from_string("+proj=aea +lat_1=29.3 +lat_2=45.7 +lon_0=-96.12 +ellps=GRS80 +units=m")
LOCAL = CRS.from_wkt('LOCAL_CS["image",UNIT["metre",1]]')


@pytest.mark.parametrize(
    "crs", [ALBERS, LOCAL, CRS.from_epsg(7415)], ids=["custom", "local", "compound"]
)
def test_a_crs_without_a_code_is_kept_exactly(path: Path, crs: CRS) -> None:
    write(path, table=replace(TABLE, crs=crs))
    back = pyogrio.read_info(path, layer="segments")["crs"]
    assert CRS.from_string(back) == crs


def test_without_a_crs_the_layer_is_undefined_cartesian(path: Path) -> None:
    write(path, table=replace(TABLE, crs=None, transform=Affine.identity()))
    assert sql(path, "SELECT srs_id FROM gpkg_geometry_columns") == [(-1,)]
    assert sql(path, "SELECT DISTINCT area_m2, perimeter_m FROM segments") == [(None, None)]


def test_a_fault_of_the_source_comes_out_as_it_is(path: Path) -> None:
    def failing() -> Iterator[Polygons]:
        yield from extract_polygons([(LABELS, None)])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_geopackage(path, failing(), TABLE, PolygonOptions(), ONE_LAYER)
