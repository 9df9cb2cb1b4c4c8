"""Datasets: positions on the map, counts, and invalid input."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from geoseg.annotations.burn import burn
from geoseg.dataset.folder import Dataset
from geoseg.dataset.placement import Extent, arrange_on_shelves
from geoseg.dataset.split import split_by_share
from geoseg.errors import (
    AnnotationError,
    ConfigError,
    DatasetError,
    GeosegError,
    OutputError,
    SceneError,
    SkippedInputsError,
)
from geoseg.legend import DOTA_V1, DOTA_V2, DOTA_V15, Legend
from geoseg.progress import Text, Track
from geoseg.raster.scene import open_scene
from tests.calls import prepare
from tests.dota_folder import PLANE, SHIP, Thing, add, annotated, drawn, write_image

T = TypeVar("T")
OVER_THE_EDGE = Thing((-30, 60, 12.5, 60, 12.5, 120, -30, 120), "harbor")


def left_overs(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


# --- where things lie ---------------------------------------------------------------------------


def test_pixel_corners_and_the_geopackage_agree_on_the_map(tmp_path: Path) -> None:
    things = {"a": [SHIP, OVER_THE_EDGE], "b": [PLANE], "c": [PLANE, SHIP]}
    for name, gsd in {"a": None, "b": 0.25, "c": 0.1}.items():
        add(tmp_path / "dota", name, things[name], gsd=gsd)
    folder = prepare(tmp_path / "dota", tmp_path / "dataset")
    table = gpd.read_file(folder / "annotations.gpkg", layer="quads")
    assert len(table) == 5
    for name, objects in things.items():
        with rasterio.open(folder / "scenes" / f"{name}.tif") as scene:
            rows = table[table["scene"] == name].set_index("class")
            assert sorted(rows.index) == sorted(thing.name for thing in objects)
            for thing in objects:
                corners = np.reshape(thing.corners, (4, 2))
                on_map = [scene.transform @ tuple(corner) for corner in corners]
                found = shapely.get_coordinates(rows.loc[thing.name, "geometry"])[:4]
                assert found == pytest.approx(np.array(on_map), abs=1e-9)
                # by map coordinates, the raster has the object's colour under the polygon
                row = rows.loc[thing.name]
                inside = row["geometry"].intersection(shapely.box(*scene.bounds))
                point = inside.representative_point()
                (colour,) = scene.sample([(point.x, point.y)])
                assert tuple(colour) == DOTA_V2.rgb(row["class_id"])
                assert row["difficult"] == thing.difficult


def test_a_pixel_is_one_gsd_wide_and_y_goes_up(tmp_path: Path) -> None:
    add(tmp_path / "dota", "metres", gsd=0.125)
    add(tmp_path / "dota", "pixels")
    dataset = Dataset.open(prepare(tmp_path / "dota", tmp_path / "dataset"))
    sizes = {scene.name: scene.pixel_size_m for scene in dataset.scenes}
    assert sizes == {"metres": 0.125, "pixels": None}
    for scene in dataset.scenes:
        with rasterio.open(dataset.path(scene)) as raster:
            unit = scene.pixel_size_m or 1.0
            assert raster.crs is None
            assert raster.transform == Affine(*scene.transform)
            assert (raster.transform.a, raster.transform.e) == (unit, -unit)
            assert (raster.transform.b, raster.transform.d) == (0, 0)
    assert dataset.crs is None


def test_a_georeferenced_scene_keeps_its_place_and_its_annotations_go_there(tmp_path: Path) -> None:
    place = Affine(0.25, 0.02, 155_000.125, 0.02, -0.25, 463_000.5)
    add(tmp_path / "dota", "a", [SHIP], suffix=".tif", crs="EPSG:28992", transform=place, gsd=9.0)
    folder = prepare(tmp_path / "dota", tmp_path / "dataset")
    table = gpd.read_file(folder / "annotations.gpkg", layer="quads")
    with rasterio.open(folder / "scenes" / "a.tif") as scene:
        assert scene.transform == place
        assert scene.crs.to_epsg() == 28992
    assert table.crs.to_epsg() == 28992
    expected = [place @ (x, y) for x, y in np.reshape(SHIP.corners, (4, 2))]
    assert shapely.get_coordinates(table.geometry[0])[:4] == pytest.approx(np.array(expected))
    dataset = Dataset.open(folder)
    assert dataset.crs is not None
    assert dataset.scenes[0].pixel_size_m == pytest.approx(np.sqrt(abs(place.determinant)))
    (geometry,) = dataset.annotations()["a"].geometry
    assert shapely.equals_exact(geometry, annotated([SHIP]).geometry[0], 1e-6)


@pytest.mark.parametrize("other", [None, "EPSG:3857"])
def test_scenes_of_different_crs_are_refused(tmp_path: Path, other: str | None) -> None:
    place = Affine(2, 0, 0, 0, -2, 0)
    add(tmp_path / "dota", "a", suffix=".tif", crs="EPSG:28992", transform=place)
    if other:
        add(tmp_path / "dota", "b", suffix=".tif", crs=other, transform=place)
    else:
        add(tmp_path / "dota", "b")
    with pytest.raises(
        SceneError, match=r"b.*: has .* but a\.tif has EPSG:28992\. Reproject to one"
    ):
        prepare(tmp_path / "dota", tmp_path / "dataset")


lengths = st.floats(-2000, 2000).flatmap(
    lambda low: st.floats(1, 5000).map(lambda length: (low, low + length))
)


@settings(max_examples=25)
@given(
    st.lists(
        st.builds(
            lambda x, y, unit: Extent(x[0], y[0], x[1], y[1], unit),
            lengths,
            lengths,
            st.floats(0.05, 30),
        ),
        min_size=1,
        max_size=25,
    )
)
def test_no_scene_covers_another_and_the_plane_is_not_a_ribbon(extents: list[Extent]) -> None:
    boxes = []
    for extent, transform in zip(extents, arrange_on_shelves(extents), strict=True):
        left, top = transform @ (extent.left, extent.top)
        right, bottom = transform @ (extent.right, extent.bottom)
        assert left < right
        assert bottom < top
        assert right - left == pytest.approx((extent.right - extent.left) * extent.unit)
        assert (transform.c, transform.f) != (0, 0) or (extent.left, extent.top) != (0, 0)
        boxes.append(shapely.box(left, bottom, right, top))
    for n, box in enumerate(boxes):
        assert not any(box.intersects(other) for other in boxes[:n])
    left, bottom, right, top = shapely.total_bounds(boxes)
    largest = max(max(b.bounds[2] - b.bounds[0], b.bounds[3] - b.bounds[1]) for b in boxes)
    filled = np.sqrt(
        sum((e.right - e.left + 40) * (e.bottom - e.top + 40) * e.unit**2 for e in extents)
    )
    assert right - left <= max(largest, filled) + 40 * len(extents) + 1


# --- pixels -------------------------------------------------------------------------------------


def test_a_large_scene_is_tiled_compressed_and_has_overviews(tmp_path: Path) -> None:
    image = add(tmp_path / "dota", "a", width=1300, height=600)
    add(tmp_path / "dota", "b", width=512, height=40)
    folder = prepare(tmp_path / "dota", tmp_path / "dataset")
    with rasterio.open(folder / "scenes" / "a.tif") as scene, rasterio.open(image) as source:
        assert np.array_equal(scene.read(), source.read())
        assert scene.block_shapes == [(256, 256)] * 3
        assert scene.profile["compress"] == "deflate"
        assert scene.overviews(1) == [2, 4, 8]
        assert MaskFlags.all_valid in scene.mask_flag_enums[0]
    with rasterio.open(folder / "scenes" / "b.tif") as scene:
        assert scene.overviews(1) == []


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".JPeG", ".tif", ".TIFF"])
def test_every_kind_of_image_comes_out_as_it_is_decoded(tmp_path: Path, suffix: str) -> None:
    image = add(tmp_path / "dota", "sp ace é", suffix=suffix)
    folder = prepare(tmp_path / "dota", tmp_path / "dataset")
    with rasterio.open(folder / "scenes" / "sp ace é.tif") as scene, rasterio.open(image) as source:
        assert np.array_equal(scene.read(), source.read())


def test_grey_stays_one_band(tmp_path: Path) -> None:
    grey = np.arange(80 * 100, dtype=np.uint8).reshape(1, 80, 100)
    write_image(add(tmp_path / "dota", "a"), grey)
    folder = prepare(tmp_path / "dota", tmp_path / "out")
    with rasterio.open(folder / "scenes" / "a.tif") as scene:
        assert np.array_equal(scene.read(), grey)
    assert Dataset.open(folder).bands == 1


def test_grey_among_colours_becomes_three_equal_bands(tmp_path: Path) -> None:
    grey = np.arange(80 * 100, dtype=np.uint8).reshape(1, 80, 100)
    write_image(add(tmp_path / "dota", "a"), grey)
    write_image(add(tmp_path / "dota", "b"), grey)
    add(tmp_path / "dota", "c")
    folder = prepare(tmp_path / "dota", tmp_path / "out")
    with rasterio.open(folder / "scenes" / "a.tif") as scene:
        assert np.array_equal(scene.read(), np.repeat(grey, 3, axis=0))
    assert Dataset.open(folder).band_names == ("red", "green", "blue")


@pytest.mark.parametrize("clear", [slice(0, 10), slice(400, 600)], ids=["above", "below"])
def test_transparency_stays_known_and_is_not_counted(tmp_path: Path, clear: slice) -> None:
    image = add(tmp_path / "dota", "a", [SHIP], height=600, width=700)
    alpha = np.full((1, 600, 700), 255, np.uint8)
    alpha[:, clear] = 0
    write_image(image, np.concatenate([drawn([SHIP], 600, 700), alpha]))
    dataset = Dataset.open(prepare(tmp_path / "dota", tmp_path / "dataset"))
    with open_scene(dataset.path(dataset.scenes[0])) as scene:
        assert scene.info.count == 3
        _, valid = scene.read(Window(0, 0, 700, 600))
    assert np.array_equal(valid, alpha[0] > 0)
    assert sum(dataset.layers["quads"].pixels.values()) == valid.sum()


def test_nodata_stays_known(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a", [SHIP], suffix=".tif", nodata=0)
    folder = prepare(tmp_path / "dota", tmp_path / "dataset")
    with open_scene(folder / "scenes" / "a.tif") as scene:
        _, valid = scene.read(Window(0, 0, 100, 80))
    assert np.array_equal(valid, burn(annotated([SHIP]), 80, 100) > 0)


def test_an_exif_orientation_is_ignored_as_the_annotators_did(tmp_path: Path) -> None:
    image = add(tmp_path / "dota", "a", suffix=".jpg")
    with rasterio.open(image) as source:
        before = source.read()
    jpeg = image.read_bytes()
    turned = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    segment = b"Exif\0\0" + turned
    header = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big")
    image.write_bytes(jpeg[:2] + header + segment + jpeg[2:])
    folder = prepare(tmp_path / "dota", tmp_path / "dataset")
    with rasterio.open(folder / "scenes" / "a.tif") as scene:
        assert np.array_equal(scene.read(), before)


# --- counts, classes, splits --------------------------------------------------------------------


def test_counts_are_those_of_the_burned_scenes_and_splits_add_up(tmp_path: Path) -> None:
    small = Thing((200, 300, 260, 300, 260, 340, 200, 340), "small-vehicle")
    big = Thing((100, 200, 400, 200, 400, 500, 100, 500), "roundabout")
    truth = {"train": {"a": [small, big], "b": []}, "val": {"c": [SHIP, PLANE, OVER_THE_EDGE]}}
    for split, scenes in truth.items():
        for name, things in scenes.items():
            add(tmp_path / "dota" / split, name, things, width=600, height=520)
    counts = Dataset.open(prepare(tmp_path / "dota", tmp_path / "out")).layers["quads"]
    for split, scenes in truth.items():
        labels = [burn(annotated(things), 520, 600) for things in scenes.values()]
        pixels = np.bincount(np.concatenate(labels).ravel(), minlength=len(DOTA_V1))
        assert counts.splits[split].pixels == dict(zip(DOTA_V1.names, pixels, strict=True))
        objects = [thing.name for things in scenes.values() for thing in things]
        for c in DOTA_V1.objects:
            assert counts.splits[split].objects[c.name] == objects.count(c.name)
    for name in DOTA_V1.names:
        assert counts.pixels[name] == sum(part.pixels[name] for part in counts.splits.values())
    assert sum(counts.objects.values()) == 5


@pytest.mark.parametrize(
    ("name", "legend"),
    [("plane", DOTA_V1), ("container-crane", DOTA_V15), ("helipad", DOTA_V2)],
)
def test_the_smallest_dota_legend_that_fits_is_taken(
    tmp_path: Path, name: str, legend: Legend
) -> None:
    add(tmp_path / "dota", "a", [SHIP, Thing(PLANE.corners, name)])
    assert Dataset.open(prepare(tmp_path / "dota", tmp_path / "out")).legend == legend


def test_a_legend_may_be_named_or_come_from_a_file(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a", [SHIP])
    path = tmp_path / "legend.json"
    own = Legend.of({"ship": "#ff0000"})
    path.write_text(json.dumps(own.to_json()), encoding="utf-8")
    from_file = prepare(tmp_path / "dota", tmp_path / "file", legend=str(path))
    assert Dataset.open(from_file).legend == own
    named = prepare(tmp_path / "dota", tmp_path / "named", legend="dota-v2.0")
    assert Dataset.open(named).legend == DOTA_V2
    with pytest.raises(ConfigError, match=r"'dota-v3': unknown. Use dota-v1.0"):
        prepare(tmp_path / "dota", tmp_path / "none", legend="dota-v3")
    path.write_text("[{}]", encoding="utf-8")
    with pytest.raises(ConfigError, match="not a legend"):
        prepare(tmp_path / "dota", tmp_path / "none", legend=str(path))


def test_classes_outside_the_requested_legend_are_an_error(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a", [Thing(SHIP.corners, "airport")])
    with pytest.raises(AnnotationError, match=r"a.txt:3: unknown class 'airport'"):
        prepare(tmp_path / "dota", tmp_path / "out", legend="dota-v1.0")


def test_sub_folders_with_images_are_the_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "extra"):
        add(tmp_path / "dota" / split, f"of-{split}")
    (tmp_path / "dota" / "notes").mkdir()
    every = Dataset.open(prepare(tmp_path / "dota", tmp_path / "every"))
    assert {s.name: s.split for s in every.scenes} == {
        "of-train": "train",
        "of-val": "val",
        "of-extra": "extra",
    }
    some = prepare(tmp_path / "dota", tmp_path / "some", splits=["train", "val"])
    assert Dataset.open(some).splits == ("train", "val")


def test_a_share_of_a_folder_without_splits_goes_to_val_the_same_each_time() -> None:
    names = [f"P{n}" for n in range(10)]

    def val(share: float, names: list[str] = names) -> set[str]:
        return {name for name, split in split_by_share(names, share).items() if split == "val"}

    assert len(val(0.2)) == 2
    assert val(0.2) < val(0.5)
    assert len(val(0.01)) == 1
    assert val(0) == set()
    assert val(0.5, names[::-1]) == val(0.5)
    assert len(val(0.5, ["Q7" if name == "P7" else name for name in names]) & set(names)) >= 4


def test_the_number_of_threads_changes_nothing(tmp_path: Path) -> None:
    for n in range(5):
        add(tmp_path / "dota", f"P{n}", width=300 + 100 * n, height=300)
    folders = [prepare(tmp_path / "dota", tmp_path / f"{n}", jobs=n) for n in (1, 4)]
    told = ["dataset.json", "report.json", "journal"]
    for file in [*told, *(f"scenes/P{n}.tif" for n in range(5))]:
        one, four = ((folder / file).read_bytes() for folder in folders)
        assert one == four
    one, four = (gpd.read_file(folder / "annotations.gpkg", layer="quads") for folder in folders)
    assert one.equals(four)


# --- outlines -----------------------------------------------------------------------------------


def outlines(tmp_path: Path, rows: list[tuple[str, str, shapely.Geometry]]) -> Path:
    path = tmp_path / "outlines.parquet"
    image, category, geometry = zip(*rows, strict=True)
    gpd.GeoDataFrame({"image": image, "category": category}, geometry=list(geometry)).to_parquet(
        path
    )
    return path


def test_outlines_are_a_second_layer_and_the_default(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a", [SHIP])
    add(tmp_path / "dota", "b", [SHIP])
    ring = shapely.Point(30, 30).buffer(20).difference(shapely.Point(30, 30).buffer(8))
    parts = shapely.MultiPolygon([shapely.box(0, 0, 5, 5), shapely.box(60, 60, 70.5, 66)])
    rows = [("a", "ship", ring), ("a", "plane", parts), ("elsewhere", "unheard-of", ring)]
    dataset = Dataset.open(
        prepare(tmp_path / "dota", tmp_path / "out", outlines=outlines(tmp_path, rows))
    )
    assert dataset.default_layer == "outlines"
    found = dataset.annotations()
    assert len(found["b"]) == 0
    assert shapely.equals_exact(found["a"].geometry, [ring, parts], 1e-6).all()
    assert [DOTA_V1[i].name for i in found["a"].class_id] == ["ship", "plane"]
    labels = burn(found["a"], 80, 100)
    assert dataset.layers["outlines"].pixels["ship"] == (labels == DOTA_V1.id_of("ship")).sum()
    assert len(dataset.annotations("quads")["b"]) == 1


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (("a", "boat", shapely.box(0, 0, 1, 1)), "column category: unknown class 'boat'"),
        (("a", "ship", shapely.Point(1, 1)), "row 0 is not a polygon"),
        (("a", "ship", shapely.box(0, 0, 1, 3e6)), "row 0 are out of range"),
    ],
)
def test_invalid_outlines_are_refused(
    tmp_path: Path, row: tuple[str, str, shapely.Geometry], says: str
) -> None:
    add(tmp_path / "dota", "a")
    with pytest.raises(AnnotationError, match=says):
        prepare(tmp_path / "dota", tmp_path / "out", outlines=outlines(tmp_path, [row]))
    assert left_overs(tmp_path) == []


def test_outlines_are_geoparquet_with_three_columns(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a")
    path = tmp_path / "outlines.parquet"
    path.write_text("no", encoding="utf-8")
    with pytest.raises(AnnotationError, match="not GeoParquet"):
        prepare(tmp_path / "dota", tmp_path / "out", outlines=path)
    gpd.GeoDataFrame({"image": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)]).to_parquet(path)
    with pytest.raises(AnnotationError, match="no column 'category'"):
        prepare(tmp_path / "dota", tmp_path / "out", outlines=path)


# --- bad input ----------------------------------------------------------------------------------


def spoiled(folder: Path) -> Path:
    """A folder in which only the scene `good` is valid."""
    add(folder, "good")
    add(folder, "no-label")
    (folder / "labelTxt" / "no-label.txt").unlink()
    add(folder, "no-image").unlink()
    add(folder, "twice")
    add(folder, "twice", suffix=".tif")
    add(folder, "typo")
    (folder / "labelTxt" / "typo.txt").write_text("1 2 3 plane 0\n", encoding="utf-8")
    image = add(folder, "deep")
    write_image(image, np.zeros((3, 9, 9), np.uint16))
    return folder


NAMED = ["no-label.png", "no-image.txt", "twice.png", "typo.txt:1", "deep.png"]


def test_all_invalid_inputs_are_named_before_anything_is_written(tmp_path: Path) -> None:
    folder = spoiled(tmp_path / "dota")
    with pytest.raises(GeosegError) as error:
        prepare(folder, tmp_path / "out")
    assert error.value.exit_code == 3
    assert all(name in str(error.value) for name in NAMED)
    assert "5 invalid inputs" in str(error.value)
    assert "its pixels are uint16, those of" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["dota"]


def test_skip_bad_leaves_invalid_inputs_out_and_reports_them(tmp_path: Path) -> None:
    folder = spoiled(tmp_path / "dota")
    broken = add(folder, "broken", width=900, height=900)
    broken.write_bytes(broken.read_bytes()[:600])
    with pytest.raises(SkippedInputsError) as error:
        prepare(folder, tmp_path / "out", skip_bad=True)
    assert all(name in str(error.value) for name in [*NAMED, "broken.png"])
    dataset = Dataset.open(tmp_path / "out")
    assert [scene.name for scene in dataset.scenes] == ["good"]
    assert [path.name for path in (tmp_path / "out" / "scenes").iterdir()] == ["good.tif"]
    assert dataset.layers["quads"].objects["ship"] == 1
    assert len(dataset.annotations()["good"]) == 2


def test_a_damaged_image_leaves_nothing_behind(tmp_path: Path) -> None:
    image = add(tmp_path / "dota", "broken", width=900, height=900)
    image.write_bytes(image.read_bytes()[:600])
    with pytest.raises(SceneError, match=r"broken\.png"):
        prepare(tmp_path / "dota", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["dota"]


def test_when_nothing_is_left_there_is_no_dataset(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a").unlink()
    with pytest.raises(DatasetError, match="no scene is left"):
        prepare(tmp_path / "dota", tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        ([], "no such folder"),
        (["dota"], "no images in it"),
        (["dota/images"], "no folder labelTxt"),
        (["dota/images", "dota/labelTxt"], "no images in it"),
        (["dota/test/images"], "no folder labelTxt. Add it, or name the splits to use"),
    ],
)
def test_a_folder_of_another_layout_is_refused(tmp_path: Path, make: list[str], says: str) -> None:
    for folder in make:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    with pytest.raises(DatasetError, match=says):
        prepare(tmp_path / "dota", tmp_path / "out")


def test_two_scenes_of_one_name_are_refused(tmp_path: Path) -> None:
    add(tmp_path / "dota" / "train", "P1")
    add(tmp_path / "dota" / "val", "p1")
    with pytest.raises(DatasetError, match=r"p1\.png: has the same name as .*P1\.png"):
        prepare(tmp_path / "dota", tmp_path / "out")


def test_objects_outside_the_scene_are_left_out_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = Thing((100, 0, 120, 0, 120, 20, 100, 20), "ship")  # touches the scene's edge
    add(tmp_path / "dota", "a", [SHIP, outside, OVER_THE_EDGE])
    dataset = Dataset.open(prepare(tmp_path / "dota", tmp_path / "out"))
    assert len(dataset.annotations()["a"]) == 2
    assert re.search(r"object outside its scene +left out +1 +1 +a\.txt: quads", caplog.text)


# --- the folder ---------------------------------------------------------------------------------


def test_paths_may_be_text(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a")
    out = prepare(str(tmp_path / "dota"), str(tmp_path / "out"))
    assert out == tmp_path / "out"
    assert [scene.name for scene in Dataset.open(str(out)).scenes] == ["a"]
    merged = prepare([str(out)], str(tmp_path / "merged"))
    assert [scene.name for scene in Dataset.open(merged).scenes] == ["a"]


def test_a_dataset_is_replaced_only_on_request_and_by_a_complete_one(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a")
    out = prepare(tmp_path / "dota", tmp_path / "out")
    before = (out / "dataset.json").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        prepare(tmp_path / "dota", out)
    add(tmp_path / "dota", "b").write_bytes(b"\x89PNG")
    with pytest.raises(SceneError):
        prepare(tmp_path / "dota", out, overwrite=True)
    assert (out / "dataset.json").read_bytes() == before
    add(tmp_path / "dota", "b")
    prepare(tmp_path / "dota", out, overwrite=True)
    assert len(Dataset.open(out).scenes) == 2
    assert left_overs(tmp_path) == []


def test_a_folder_that_is_no_dataset_is_never_replaced(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a")
    for output in (tmp_path / "dota", tmp_path):
        with pytest.raises(OutputError, match="is not a dataset"):
            prepare(tmp_path / "dota", output, overwrite=True)
    with pytest.raises(OutputError, match="its folder does not exist"):
        prepare(tmp_path / "dota", tmp_path / "none" / "out")


def test_an_empty_folder_may_be_the_output(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a")
    (tmp_path / "out").mkdir()
    assert len(Dataset.open(prepare(tmp_path / "dota", tmp_path / "out")).scenes) == 1


def stopping(scenes: int) -> Track:
    """Progress that interrupts a run once so many scenes are written."""

    def interrupted(
        items: Iterable[T], /, text: Text = "", total: int | None = None
    ) -> Iterable[T]:
        for n, item in enumerate(items):
            if text == "write scenes" and n == scenes:
                raise KeyboardInterrupt
            yield item

    return interrupted


def test_an_interruption_ends_the_threads_and_leaves_what_the_next_run_goes_on_from(
    tmp_path: Path,
) -> None:
    for n in range(12):
        add(tmp_path / "dota", f"P{n}", width=300, height=300)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "dota", tmp_path / "out", track=stopping(2))
    assert threading.active_count() == before
    assert left_overs(tmp_path) == [".out.unfinished"]
    assert not (tmp_path / "out").exists()
    prepare(tmp_path / "dota", tmp_path / "out")
    assert left_overs(tmp_path) == []


def test_progress_counts_scenes_in_two_stages(tmp_path: Path) -> None:
    for n in range(3):
        add(tmp_path / "dota", f"P{n}")
    told: list[tuple[object, int | None]] = []

    def track(items: Iterable[T], /, text: object = "", total: int | None = None) -> Iterable[T]:
        told.append((text, total))
        return items

    prepare(tmp_path / "dota", tmp_path / "out", track=track)
    assert told == [("read labels", 3), ("write scenes", 3)]


def test_each_layer_opens_in_the_colours_of_the_legend(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a", [SHIP])
    parquet = outlines(tmp_path, [("a", "ship", shapely.box(0, 0, 9, 9))])
    out = prepare(tmp_path / "dota", tmp_path / "out", outlines=parquet)
    with closing(sqlite3.connect(out / "annotations.gpkg")) as database:
        styles = database.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault FROM layer_styles"
        ).fetchall()
        geometry = database.execute(
            "SELECT table_name, column_name, geometry_type_name FROM gpkg_geometry_columns"
        ).fetchall()
        index = database.execute("SELECT table_name FROM gpkg_extensions").fetchall()
    assert sorted(styles) == [("outlines", "geom", 1), ("quads", "geom", 1)]
    assert sorted(geometry) == [("outlines", "geom", "POLYGON"), ("quads", "geom", "POLYGON")]
    assert sorted(index) == [("outlines",), ("quads",)]


@pytest.mark.slow
def test_original_dota_scenes_make_a_dataset(tmp_path: Path, real_data: Path) -> None:
    dataset = Dataset.open(prepare(real_data / "dota" / "originals", tmp_path / "out"))
    assert len(dataset.scenes) == 15
    assert dataset.layers["quads"].objects["ship"] == 636
    found = dataset.annotations()
    for scene in dataset.scenes:
        labels = burn(found[scene.name], scene.height, scene.width)
        with rasterio.open(dataset.path(scene)) as raster:
            assert raster.shape == labels.shape
    table = gpd.read_file(dataset.folder / "annotations.gpkg", layer="quads")
    boxes = [
        shapely.box(*rasterio.transform.array_bounds(s.height, s.width, Affine(*s.transform)))
        for s in dataset.scenes
    ]
    names = np.array([s.name for s in dataset.scenes])
    where, what = shapely.STRtree(boxes).query(table.geometry.to_numpy(), predicate="intersects")
    assert (names[what] == table["scene"].to_numpy()[where]).all()
