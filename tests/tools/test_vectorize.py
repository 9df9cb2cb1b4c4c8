"""`vectorize`: label rasters of every form in, one GeoPackage out, or one clear error."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar, cast

import cv2
import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.legend import DOTA_V1, Legend
from geoseg.options import PolygonOptions
from geoseg.polygons.styles import raster_colormap, write_raster_style
from geoseg.raster.labels import legend_tags
from tests.calls import vectorize
from tests.scenes import write_scene

T = TypeVar("T")

UTM = CRS.from_epsg(32632)
TRANSFORM = Affine(0.5, 0, 600000, 0, -0.5, 5800000)
LEGEND = Legend.of({"tree & bush": "#3cb44b", "house": "#e6194b"})


def blobs(height: int, width: int) -> np.ndarray:
    """Class ids 0 to 2 with regions that span many rows."""
    y, x = np.mgrid[:height, :width]
    waves = np.sin(x / 7) + np.sin(y / 11) + np.sin((x + y) / 23)
    return np.asarray(np.digitize(waves, [0.3, 1.2]), np.uint8)


def save(
    path: Path, labels: np.ndarray, *, tags: dict[str, str] | None = None, **options: Any
) -> Path:
    profile = {"crs": UTM, "transform": TRANSFORM, "nodata": 255, **options}
    height, width = labels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=labels.dtype,
        **profile,
    ) as file:
        file.write(labels, 1)
        file.update_tags(**(tags or {}))
    return path


def read(path: Path) -> Any:
    return pyogrio.read_dataframe(path, layer="segments")


@pytest.mark.parametrize(
    "layout",
    [
        {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"},
        {"blockysize": 1},
        {"blockysize": 700},
    ],
    ids=["tiles", "rows", "one strip"],
)
def test_the_polygons_are_the_raster_whatever_its_blocks(
    tmp_path: Path, layout: dict[str, Any]
) -> None:
    labels = blobs(700, 150)
    source = save(tmp_path / "labels.tif", labels, tags=legend_tags(LEGEND), **layout)
    table = read(vectorize(source, tmp_path / "out.gpkg"))
    pairs = zip(table.geometry, table["class_id"], strict=True)
    assert (rasterize(pairs, labels.shape, transform=TRANSFORM, dtype="uint8") == labels).all()
    assert set(table["class"]) == {"tree & bush", "house"}
    assert table["pixels"].sum() == np.count_nonzero(labels)


def test_confidence_is_the_mean_over_a_polygons_pixels(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.tif", np.array([[1, 1, 0, 2]], np.uint8))
    sureness = save(tmp_path / "confidence.tif", np.array([[200, 100, 0, 40]], np.uint8))
    table = read(vectorize(labels, tmp_path / "out.gpkg", confidence=sureness, legend=LEGEND))
    rows = table[["class", "confidence", "confidence_min"]].values.tolist()
    assert sorted(rows) == [["house", 0.2, 0.2], ["tree & bush", 0.75, 0.5]]


@pytest.mark.parametrize("options", [{}, {"simplify": 1.0}, {"fill_holes": 1}, {"min_pixels": 1}])
def test_uncertainty_is_the_mean_over_a_polygons_pixels(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    labels = save(tmp_path / "labels.tif", np.array([[1, 1, 0, 2]], np.uint8))
    entropy = save(tmp_path / "uncertainty.tif", np.array([[30, 50, 90, 200]], np.uint8))
    given = {"uncertainty": entropy, "legend": LEGEND, **options}
    table = read(vectorize(labels, tmp_path / "out.gpkg", **given))
    rows = table[["class", "uncertainty", "confidence"]].sort_values("class")
    assert rows["uncertainty"].tolist() == [1.0, 0.2]
    assert rows["confidence"].isna().all()
    assert list(table.columns)[4:6] == ["confidence_min", "uncertainty"]


@pytest.mark.parametrize("suffix", [".parquet", ".fgb", ".geojson"])
def test_every_format_has_the_uncertainty(tmp_path: Path, suffix: str) -> None:
    labels = save(tmp_path / "labels.tif", np.array([[1, 1, 0, 2]], np.uint8))
    entropy = save(tmp_path / "uncertainty.tif", np.array([[30, 50, 90, 200]], np.uint8))
    out = vectorize(labels, tmp_path / f"out{suffix}", uncertainty=entropy, legend=LEGEND)
    table = geopandas.read_parquet(out) if suffix == ".parquet" else pyogrio.read_dataframe(out)
    assert sorted(table["uncertainty"]) == [0.2, 1.0]


def test_a_scene_with_other_columns_is_not_appended(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.tif", np.array([[1, 1, 0, 2]], np.uint8))
    entropy = save(tmp_path / "uncertainty.tif", np.array([[30, 50, 90, 200]], np.uint8))
    out = vectorize(labels, tmp_path / "out.gpkg", legend=LEGEND, name="a")
    with pytest.raises(OutputError, match=r"no column uncertainty\. Append without --uncertainty"):
        vectorize(labels, out, uncertainty=entropy, legend=LEGEND, name="b", append=True)
    by_class = {"uncertainty": entropy, "legend": LEGEND, "layer_per_class": True}
    table = pyogrio.read_dataframe(
        vectorize(labels, tmp_path / "classes.gpkg", **by_class), layer="house"
    )
    assert table["uncertainty"].tolist() == [1.0]


def test_only_chosen_classes_and_confident_polygons_are_written(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.tif", blobs(150, 150), tags=legend_tags(LEGEND))
    ramp = np.tile(np.linspace(0, 200, 150).astype(np.uint8), (150, 1))
    confidence = save(tmp_path / "confidence.tif", ramp)
    table = read(vectorize(labels, tmp_path / "all.gpkg", confidence=confidence))
    kept = vectorize(
        labels,
        tmp_path / "kept.gpkg",
        confidence=confidence,
        polygons=PolygonOptions(min_confidence=0.5, classes=("house",)),
    )
    expected = table[(table["class"] == "house") & (table["confidence"] >= 0.5)]
    assert 0 < len(expected) < len(table[table["class"] == "house"])
    columns = ["class", "confidence", "pixels", "geometry"]
    pd.testing.assert_frame_equal(read(kept)[columns], expected[columns].reset_index(drop=True))


def test_polygons_of_unknown_confidence_are_kept(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.tif", blobs(20, 20), tags=legend_tags(LEGEND))
    every = read(vectorize(labels, tmp_path / "all.gpkg"))
    options = PolygonOptions(min_confidence=0.9)
    assert len(read(vectorize(labels, tmp_path / "kept.gpkg", polygons=options))) == len(every)


def test_an_unknown_class_is_an_error_that_lists_the_classes(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.tif", blobs(9, 9), tags=legend_tags(LEGEND))
    with pytest.raises(ConfigError, match=r"--classes: unknown class 'hause'.*'house'"):
        vectorize(labels, tmp_path / "out.gpkg", polygons=PolygonOptions(classes=("hause",)))


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32", "uint32"])
def test_any_integer_type_will_do(tmp_path: Path, dtype: str) -> None:
    labels = save(tmp_path / "labels.tif", np.array([[0, 1, 99, 2]], dtype), nodata=99)
    assert sorted(read(vectorize(labels, tmp_path / "out.gpkg"))["class_id"]) == [1, 2]


def test_negative_nodata_is_no_class(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.tif", np.array([[-9999, 1]], np.int16), nodata=-9999)
    assert list(read(vectorize(labels, tmp_path / "out.gpkg"))["class_id"]) == [1]


def test_a_raster_without_a_legend_gives_numbered_classes(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.tif", np.array([[0, 3, 3, 1]], np.uint8))
    table = read(vectorize(labels, tmp_path / "out.gpkg"))
    assert sorted(table["class"]) == ["class_1", "class_3"]


def test_foreign_colour_tables_and_category_names_are_used(tmp_path: Path) -> None:
    path = tmp_path / "labels.tif"
    save(path, np.array([[0, 1, 2]], np.uint8))
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, raster_colormap(LEGEND))
    write_raster_style(path, LEGEND)
    output = vectorize(path, tmp_path / "out.gpkg")
    assert sorted(read(output)["class"]) == ["house", "tree & bush"]
    with closing(sqlite3.connect(output)) as database:
        ((qml,),) = database.execute("SELECT styleQML FROM layer_styles").fetchall()
    assert 'label="tree &amp; bush"' in qml
    assert "230,25,75,128" in qml


def test_a_cog_is_a_raster_like_any_other(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.tif", blobs(300, 200), tags=legend_tags(LEGEND))
    cog = tmp_path / "cog.tif"
    rasterio.shutil.copy(labels, cog, driver="COG", blocksize=128)
    plain, same = vectorize(labels, tmp_path / "a.gpkg"), vectorize(cog, tmp_path / "b.gpkg")
    columns = ["class_id", "pixels", "area_m2", "geometry"]
    assert (read(plain)[columns] == read(same)[columns]).all(axis=None)


def test_provenance_names_geoseg_the_date_and_what_the_caller_adds(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.tif", np.ones((2, 2), np.uint8))
    output = vectorize(labels, tmp_path / "out.gpkg", provenance={"command": "geoseg vectorize"})
    with closing(sqlite3.connect(output)) as database:
        ((text,),) = database.execute("SELECT metadata FROM gpkg_metadata").fetchall()
    record = json.loads(text)
    assert set(record) == {"geoseg", "date", "command", "scene", "legend"}
    assert record["command"] == "geoseg vectorize"


def test_progress_counts_the_strips(tmp_path: Path) -> None:
    seen: list[int] = []

    def track(items: Iterable[T], /, text: object = "", total: int | None = None) -> Iterable[T]:
        for item in items:
            seen.append(cast(Window, item).height)
            yield item

    labels = save(tmp_path / "labels.tif", blobs(1300, 20), blockysize=1)
    vectorize(labels, tmp_path / "out.gpkg", legend=LEGEND, track=track)
    assert seen == [512, 512, 276]


def refused(tmp_path: Path, error: type[Exception], match: str, **arguments: Any) -> None:
    before = sorted(tmp_path.iterdir())
    given = {"labels": tmp_path / "labels.tif", "output": tmp_path / "out.gpkg", **arguments}
    with pytest.raises(error, match=match) as caught:
        vectorize(**given)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_no_label_raster_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, SceneError, "cannot be read")
    path = tmp_path / "labels.tif"
    save(path, np.ones((2, 2), np.float32))
    refused(tmp_path, SceneError, "float32, class IDs are integers")
    save(path, np.full((2, 2), 300, np.uint16), nodata=None)
    refused(tmp_path, SceneError, "holds the value 300")
    save(path, np.full((2, 2), -1, np.int16), nodata=None)
    refused(tmp_path, SceneError, "holds the value -1")
    with rasterio.open(
        path, "w", driver="GTiff", height=2, width=2, count=3, dtype="uint8"
    ) as file:
        file.write(np.ones((3, 2, 2), np.uint8))
    refused(tmp_path, SceneError, "has 3 bands, labels have one")
    save(path, np.ones((2, 2), np.uint8), tags={"GEOSEG_LEGEND": "[{}]"})
    refused(tmp_path, SceneError, "tag GEOSEG_LEGEND is not a legend")


def test_classes_beyond_the_legend_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "labels.tif", np.full((2, 2), 16, np.uint8))
    refused(tmp_path, SceneError, "holds class 16, but its legend ends at 15", legend=DOTA_V1)


def test_a_confidence_raster_on_another_grid_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "labels.tif", np.ones((2, 2), np.uint8))
    other = save(tmp_path / "c.tif", np.ones((2, 3), np.uint8))
    refused(tmp_path, SceneError, "not on the grid", confidence=other)
    moved = save(
        tmp_path / "c.tif",
        np.ones((2, 2), np.uint8),
        transform=TRANSFORM @ Affine.translation(1, 0),
    )
    refused(tmp_path, SceneError, "not on the grid", confidence=moved)
    save(tmp_path / "c.tif", np.ones((2, 2), np.float32))
    refused(tmp_path, SceneError, "1 bands of float32", confidence=other)


def test_a_damaged_file_leaves_no_output(tmp_path: Path) -> None:
    path = tmp_path / "labels.tif"
    save(path, blobs(600, 600), compress="deflate", tiled=True, blockxsize=128, blockysize=128)
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_3_3", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(content)
    refused(tmp_path, SceneError, "damaged within rows 0 to 512", legend=LEGEND)


def test_outputs_are_checked_before_the_work(tmp_path: Path) -> None:
    save(tmp_path / "labels.tif", np.ones((2, 2), np.uint8))
    refused(tmp_path, ConfigError, r"not a vector format", output=tmp_path / "out.shp")
    refused(tmp_path, OutputError, "folder does not exist", output=tmp_path / "no" / "out.gpkg")
    (tmp_path / "out.gpkg").write_bytes(b"mine")
    refused(tmp_path, OutputError, "exists already")
    assert (tmp_path / "out.gpkg").read_bytes() == b"mine"


def test_overwrite_replaces_the_file_as_a_whole(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.tif", np.ones((2, 2), np.uint8))
    output = tmp_path / "out.gpkg"
    output.write_bytes(b"something else")
    vectorize(labels, output, overwrite=True)
    assert len(read(output)) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.tif", "out.gpkg"]


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("kilobytes", [1, 60, 200, 400])
def test_when_the_disk_takes_no_more_nothing_is_left(tmp_path: Path, kilobytes: int) -> None:
    import resource

    noise = np.random.default_rng(0).integers(0, 3, (90, 90), np.uint8)
    save(tmp_path / "labels.tif", noise)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, before[1]))
    try:
        refused(tmp_path, OutputError, "disk is full", legend=LEGEND)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_array_becomes_a_geodataframe() -> None:
    labels = blobs(90, 70).astype(np.int64)
    table = vectorize(labels, crs="EPSG:32632", transform=TRANSFORM)
    pairs = zip(table.geometry, table["class_id"], strict=True)
    assert (rasterize(pairs, labels.shape, transform=TRANSFORM, dtype="uint8") == labels).all()
    assert table.crs == UTM
    assert set(table["class"]) == {"class_1", "class_2"}
    sure = vectorize(labels, confidence=np.full(labels.shape, 100, np.uint8), legend=LEGEND)
    assert set(sure["confidence"]) == {0.5}


def test_a_file_becomes_a_geodataframe_too(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.tif", blobs(50, 40), tags=legend_tags(LEGEND))
    table = vectorize(str(labels))
    assert len(table) == len(read(vectorize(labels, tmp_path / "out.gpkg")))


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        (np.zeros((2, 2, 2), np.uint8), {}),
        (np.zeros((2, 2)), {}),
        (np.zeros((2, 2), np.uint8), {"confidence": np.zeros((2, 3), np.uint8)}),
        (np.zeros((2, 2), np.uint8), {"confidence": "c.tif"}),
        ("labels.tif", {"crs": UTM}),
    ],
)
def test_arrays_of_a_wrong_kind_are_value_errors(labels: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|is an array|has its own"):
        vectorize(labels, **options)


def test_small_areas_are_left_out_by_square_metres(tmp_path: Path) -> None:
    labels = np.array([[1, 1, 0, 2], [1, 1, 0, 2], [0, 0, 0, 0], [1, 1, 1, 0]], np.uint8)
    source = save(tmp_path / "labels.tif", labels)
    for cleaning in (
        PolygonOptions(min_area_m2=0.75),
        PolygonOptions(min_area_m2=0.75, simplify=0.1),
    ):
        table = vectorize(source, polygons=cleaning)
        assert sorted(table["area_m2"]) == pytest.approx([0.75, 1.0], rel=1e-3)
    nowhere = save(tmp_path / "nowhere.tif", labels, crs=None)
    with pytest.raises(SceneError, match="--pixel-size METRES"):
        vectorize(nowhere, polygons=PolygonOptions(min_area_m2=1))
    small = PolygonOptions(min_area_m2=5)
    table = vectorize(nowhere, polygons=small, pixel_size_m=1.5)
    assert sorted(table["area_m2"]) == pytest.approx([3 * 1.5**2, 4 * 1.5**2])


def test_all_cleaning_at_once_is_the_same_from_any_blocks(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).random((700, 150)) < 0.1
    labels = np.where(noise, 0, blobs(700, 150)).astype(np.uint8)
    cleaning = PolygonOptions(
        min_pixels=9, min_area_m2=3, fill_holes=30, split="necks", simplify=1.5, smooth=2
    )
    tables = []
    for rows in (1, 700):
        source = save(tmp_path / f"{rows}.tif", labels, blockysize=rows)
        tables.append(vectorize(source, polygons=cleaning, name="same"))
    assert tables[0].drop(columns="geometry").equals(tables[1].drop(columns="geometry"))
    assert shapely.equals_exact(tables[0].geometry.values, tables[1].geometry.values).all()
    assert shapely.coverage_is_valid(tables[0].geometry.values)
    assert tables[0]["pixels"].min() >= 9


@pytest.mark.parametrize("scene", [True, False], ids=["over the scene", "on paper"])
def test_a_picture_is_drawn_on_the_way(tmp_path: Path, scene: bool) -> None:
    labels = save(tmp_path / "labels.tif", blobs(200, 300), tags=legend_tags(LEGEND))
    picture = tmp_path / "picture.png"
    vectorize(
        labels,
        tmp_path / "out.fgb",
        picture=picture,
        scene=labels if scene else None,
        polygons=PolygonOptions(simplify=2),
    )
    pixels = cv2.imread(str(picture))
    assert pixels is not None
    colours = {tuple(map(int, rgb)) for rgb in pixels.reshape(-1, 3)[:, ::-1]}
    assert {LEGEND.rgb(1), LEGEND.rgb(2)} <= colours


def test_a_picture_never_takes_the_place_of_an_input(tmp_path: Path) -> None:
    labels = tmp_path / "labels.png"
    assert cv2.imwrite(str(labels), blobs(20, 20))
    before = labels.read_bytes()
    with pytest.raises(OutputError, match="is one of the inputs"):
        vectorize(labels, tmp_path / "o.gpkg", picture=labels, overwrite=True)
    assert labels.read_bytes() == before


def png(path: Path, shape: tuple[int, int]) -> Path:
    return write_scene(path, np.full((3, *shape), 90, np.uint8), driver="PNG")


def draw(labels: Path, scene: Path) -> Any:
    picture = labels.with_suffix(".png")
    vectorize(labels, labels.with_suffix(".gpkg"), picture=picture, scene=scene, overwrite=True)
    return cv2.imread(str(picture))


def test_a_picture_places_labels_by_pixels_on_a_scene_without_georeference(tmp_path: Path) -> None:
    ids = np.zeros((60, 80), np.uint8)
    ids[20:40, 20:60] = 1
    placed = save(tmp_path / "placed.tif", ids)
    plain = write_scene(tmp_path / "plain.tif", ids[None], nodata=255)
    scene = png(tmp_path / "scene.png", (60, 80))
    found, expected = draw(placed, scene), draw(plain, scene)
    width = found.shape[1] - 400  # without the panel of the legend
    assert np.array_equal(found[:100, :width], expected[:100, :width])
    assert len(np.unique(found[:, :width].reshape(-1, 3), axis=0)) > 2  # more than the scene


@pytest.mark.parametrize(
    ("size", "place", "reason"),
    [
        ((50, 80), {}, "80 x 50 pixels, but the labels are 80 x 60"),
        (
            (60, 80),
            {"crs": "EPSG:3857", "transform": TRANSFORM},
            "has EPSG:3857, but the labels have",
        ),
        (
            (60, 80),
            {"crs": UTM, "transform": Affine.translation(9e5, 0) @ TRANSFORM},
            "not overlap",
        ),
    ],
)
def test_a_picture_over_a_scene_elsewhere_is_an_error_before_any_product(
    tmp_path: Path, size: tuple[int, int], place: dict[str, Any], reason: str
) -> None:
    labels = save(tmp_path / "labels.tif", np.ones((60, 80), np.uint8))
    scene = write_scene(tmp_path / "scene.tif", np.full((3, *size), 90, np.uint8), **place)
    before = set(tmp_path.iterdir())
    with pytest.raises(SceneError, match=reason):
        draw(labels, scene)
    assert set(tmp_path.iterdir()) == before
