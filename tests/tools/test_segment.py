"""segment: products, their georeference and metadata, and errors that leave nothing behind."""

from __future__ import annotations

import json
import sqlite3
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

import geoseg
from geoseg.errors import ConfigError, ModelError, OutputError, SceneError
from geoseg.legend import IGNORE
from geoseg.models.unet import UNet
from geoseg.options import PolygonOptions
from geoseg.polygons.object_rules import read_rules
from geoseg.polygons.styles import raster_colormap
from tests.calls import segment
from tests.scenes import LEGEND, RULES, UTM, model_file, objects_model_file, picture, write_scene

T = TypeVar("T")

CUSTOM = (
    'PROJCS["site",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",49.3],PARAMETER["central_meridian",8.7],'
    'PARAMETER["scale_factor",0.9998],PARAMETER["false_easting",1000],'
    'PARAMETER["false_northing",2000],UNIT["metre",1]]'
)
GEOREFERENCES: dict[str, dict[str, Any]] = {
    "utm": UTM,
    "south-up": {"crs": "EPSG:32633", "transform": Affine(0.3, 0, 5e5, 0, 0.3, 5e6)},
    "rotated": {"crs": "EPSG:32633", "transform": Affine(0.26, 0.15, 5e5, 0.15, -0.26, 5e6)},
    "mercator": {"crs": "EPSG:3857", "transform": Affine(0.6, 0, 2e6, 0, -0.6, 7e6)},
    "degrees": {"crs": "EPSG:4326", "transform": Affine(3e-6, 0, 11, 0, -3e-6, 48)},
    "custom": {"crs": CRS.from_wkt(CUSTOM), "transform": Affine(0.3, 0, 900, 0, -0.3, 2100)},
    "none": {},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_file(tmp_path_factory.mktemp("model") / "tiny.safetensors")


def polygons(path: Path) -> Any:
    return pyogrio.read_dataframe(path, layer="segments")


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("place", GEOREFERENCES)
def test_rasters_have_the_georeference_of_the_scene(
    tmp_path: Path, model: Path, place: str
) -> None:
    georeference = GEOREFERENCES[place]
    scene = write_scene(tmp_path / "scene.tif", picture(41, 67), **georeference)
    labels, confidence = tmp_path / "labels.tif", tmp_path / "confidence.tif"
    segment(scene, tmp_path / "out.gpkg", model=model, labels=labels, confidence=confidence)
    with rasterio.open(scene) as expected:
        for product in (labels, confidence):
            with rasterio.open(product) as found:
                assert found.shape == expected.shape
                assert found.transform == expected.transform
                assert found.crs == expected.crs
                assert found.nodata == IGNORE
        crs = pyogrio.read_info(tmp_path / "out.gpkg", layer="segments")["crs"]
        if place == "none":
            assert crs is None or "ndefined" in crs
        else:
            assert CRS.from_user_input(crs) == expected.crs


def test_polygons_are_the_regions_of_the_labels(tmp_path: Path, model: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(60, 50), **UTM)
    labels = tmp_path / "labels.tif"
    out = segment(scene, tmp_path / "out.gpkg", model=model, labels=labels)
    with rasterio.open(labels) as dataset:
        ids = dataset.read(1)
    found = polygons(out)
    for class_id in range(1, len(LEGEND)):
        assert found.pixels[found.class_id == class_id].sum() == np.count_nonzero(ids == class_id)
    assert set(found["class"]) <= set(LEGEND.names[1:])
    assert set(found.scene) == {"scene.tif"}
    assert found.confidence.between(0.25, 1).all()  # 1 of 4 classes has won
    assert np.allclose(found.area_m2, found.pixels * 0.09, rtol=1e-3)


@pytest.mark.parametrize("how", ["nodata", "alpha"])
def test_nodata_has_no_labels_and_no_polygons(tmp_path: Path, model: Path, how: str) -> None:
    corner = np.tri(80, 80, 20, dtype=bool)  # the empty corner of a rotated scene
    pixels = picture(80, 80) * ~corner
    if how == "alpha":
        opaque = np.where(corner, 0, 255).astype(np.uint8)[None]
        pixels = np.concatenate([pixels, opaque])
        scene = write_scene(tmp_path / "scene.tif", pixels, alpha="yes", **UTM)
    else:
        scene = write_scene(tmp_path / "scene.tif", pixels, nodata=0, **UTM)
    labels = tmp_path / "labels.tif"
    out = segment(scene, tmp_path / "out.gpkg", model=model, labels=labels)
    with rasterio.open(labels) as dataset:
        ids = dataset.read(1)
    assert np.array_equal(ids == IGNORE, corner)
    found = shapely.transform(
        polygons(out).geometry.to_numpy(), lambda xy: (xy - [500_000, 5_500_000]) / [0.3, -0.3]
    )
    empty = shapely.union_all([shapely.box(0, r, min(80, r + 21), r + 1) for r in range(80)])
    assert shapely.area(shapely.intersection(found, empty)).max(initial=0) < 1e-6


def test_a_scene_without_data_gives_a_valid_empty_layer_and_a_warning(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = np.zeros((3, 40, 40), np.uint8)
    scene = write_scene(tmp_path / "scene.tif", nothing, nodata=0, **UTM)
    out = segment(scene, tmp_path / "out.gpkg", model=model)
    assert len(polygons(out)) == 0
    assert "no valid pixel" in caplog.text


def test_the_labels_are_a_cog_with_colours_legend_and_style(tmp_path: Path, model: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(600, 700), **UTM)
    labels = tmp_path / "labels.tif"
    segment(scene, tmp_path / "out.gpkg", model=model, labels=labels)
    with rasterio.open(labels) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.overviews(1) == [2]
        table = dataset.colormap(1)
        for class_id, colour in raster_colormap(LEGEND).items():
            assert table[class_id][:3] == colour[:3]
        assert json.loads(dataset.tags()["GEOSEG_LEGEND"]) == LEGEND.to_json()
    assert files(tmp_path) == {
        "scene.tif", "out.gpkg", "labels.tif", "labels.qml", "labels.sld", "labels.tif.aux.xml"
    }  # fmt: skip


def test_min_pixels_discards_small_polygons(tmp_path: Path, model: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(60, 50), **UTM)
    every = polygons(segment(scene, tmp_path / "all.gpkg", model=model))
    large = polygons(
        segment(scene, tmp_path / "large.gpkg", model=model, polygons=PolygonOptions(min_pixels=20))
    )
    assert len(large) == (every.pixels >= 20).sum() < len(every)


def test_several_scenes_share_a_layer_and_keep_their_names(tmp_path: Path, model: Path) -> None:
    one = write_scene(tmp_path / "one.tif", picture(60, 50), **UTM)
    moved = {**UTM, "transform": Affine(0.3, 0, 501_000, 0, -0.3, 5_500_000)}
    two = write_scene(tmp_path / "two.tif", picture(50, 60, seed=1), **moved)
    both = polygons(segment([one, two], tmp_path / "both.gpkg", model=model))
    for scene in (one, two):
        alone = polygons(segment(scene, tmp_path / f"{scene.stem}.gpkg", model=model))
        found = both[both.scene == scene.name].reset_index(drop=True)
        assert found.drop(columns="scene").equals(alone.drop(columns="scene"))
    with closing(sqlite3.connect(tmp_path / "both.gpkg")) as database:
        (count,) = database.execute("SELECT count(*) FROM rtree_segments_geom").fetchone()
        (styles,) = database.execute("SELECT count(*) FROM layer_styles").fetchone()
    assert count == len(both)
    assert styles == 1


def test_scenes_of_two_crs_are_refused_before_any_work(tmp_path: Path, model: Path) -> None:
    one = write_scene(tmp_path / "one.tif", picture(20, 20), **UTM)
    two = write_scene(tmp_path / "two.tif", picture(20, 20), **GEOREFERENCES["mercator"])
    with pytest.raises(SceneError, match="-o FOLDER"):
        segment([one, two], tmp_path / "out.gpkg", model=model)
    assert files(tmp_path) == {"one.tif", "two.tif"}


def test_the_geopackage_contains_its_provenance(tmp_path: Path, model: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(30, 30), **UTM)
    out = segment(scene, tmp_path / "out.gpkg", model=model, provenance={"command": "geoseg x"})
    with closing(sqlite3.connect(out)) as database:
        rows = database.execute("SELECT metadata FROM gpkg_metadata").fetchall()
    made = next(json.loads(text) for (text,) in rows if "geoseg" in text)
    assert made["model"] == "tiny.safetensors"
    assert len(made["model_sha256"]) == 64
    assert made["scenes"] == ["scene.tif"]
    assert made["command"] == "geoseg x"
    assert {"geoseg", "date"} <= made.keys()


def test_an_existing_output_is_kept(tmp_path: Path, model: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(30, 30), **UTM)
    for taken in ("out.gpkg", "labels.tif"):
        (tmp_path / taken).write_bytes(b"precious")
        with pytest.raises(OutputError, match=f"{taken}: exists already") as caught:
            segment(scene, tmp_path / "out.gpkg", model=model, labels=tmp_path / "labels.tif")
        assert caught.value.exit_code == 4
        assert (tmp_path / taken).read_bytes() == b"precious"
        (tmp_path / taken).unlink()
    (tmp_path / "out.gpkg").write_bytes(b"old")
    segment(scene, tmp_path / "out.gpkg", model=model, overwrite=True)
    assert polygons(tmp_path / "out.gpkg") is not None


def test_the_scene_is_never_overwritten(tmp_path: Path, model: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(30, 30), **UTM)
    before = scene.read_bytes()
    with pytest.raises(OutputError, match="one of the inputs"):
        segment(scene, tmp_path / "o.gpkg", model=model, labels=scene, overwrite=True)
    assert scene.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"output": "out.shp"}, ConfigError, ".gpkg"),
        ({"output": "no/such/folder/out.gpkg"}, OutputError, "does not exist"),
        ({"labels": "labels.png"}, ConfigError, ".tif"),
        ({"labels": "x.tif", "confidence": "x.tif"}, ConfigError, "two outputs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"core": 0}, ValueError, "core"),
        ({"device": "abacus"}, ConfigError, "abacus"),
        ({"model": "missing.safetensors"}, ModelError, "missing.safetensors"),
        ({"bands": (1, 2, 7)}, SceneError, "--bands"),
    ],
)
def test_an_error_names_its_cause_and_leaves_no_files(
    tmp_path: Path, model: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(30, 30), **UTM)
    given: dict[str, Any] = {"output": "out.gpkg", "model": model} | options
    named = {
        key: tmp_path / value if key in ("output", "labels", "confidence", "model") else value
        for key, value in given.items()
    }
    with pytest.raises(error) as caught:
        segment(scene, **named)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == {"scene.tif"}


def test_a_damaged_scene_leaves_no_files(tmp_path: Path, model: Path) -> None:
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    scene = write_scene(tmp_path / "scene.tif", picture(128, 128), **tiled, **UTM)
    with rasterio.open(scene) as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    broken = bytearray(scene.read_bytes())
    broken[start : start + 60] = bytes(60)
    scene.write_bytes(broken)
    with pytest.raises(SceneError, match="damaged"):
        segment(scene, tmp_path / "o.gpkg", model=model, core=64, labels=tmp_path / "l.tif")
    assert files(tmp_path) == {"scene.tif"}


def test_an_unusual_pixel_size_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_file(tmp_path / "sized.safetensors", pixel_size_m=(0.1, 0.25))
    near = write_scene(tmp_path / "near.tif", picture(30, 30), **UTM)  # 0.3 m, within 1.5 times
    segment(near, tmp_path / "near.gpkg", model=model)
    assert not caplog.records
    coarse = {**UTM, "transform": Affine(2, 0, 5e5, 0, -2, 5e6)}
    far = write_scene(tmp_path / "far.tif", picture(30, 30), **coarse)
    segment(far, tmp_path / "far.gpkg", model=model, gsd="none")
    assert "the pixel size is 2 m, the model was trained on 0.1 to 0.25 m" in caplog.text
    assert "use --gsd auto" in caplog.text


def test_progress_runs_over_tiles_and_strips(tmp_path: Path, model: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(60, 60), **UTM)
    seen: list[tuple[str, int | None, int]] = []

    def track(
        items: Iterable[T], /, text: str | Callable[[], str] = "", total: int | None = None
    ) -> Iterator[T]:
        assert isinstance(text, str)
        done = 0
        for item in items:
            done += 1
            yield item
        seen.append((text, total, done))

    segment(scene, tmp_path / "out.gpkg", model=model, core=32, track=track)
    assert seen[0] == ("segment", 4, 4)
    assert [text for text, *_ in seen] == ["segment", "vectorize"]


def test_a_scene_is_opened_once(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(60, 60), **UTM)
    opened: list[str] = []
    rasterio_open = rasterio.open

    def count(path: Any, *more: Any, **options: Any) -> Any:
        opened.append(Path(path).name)
        return rasterio_open(path, *more, **options)

    monkeypatch.setattr(rasterio, "open", count)
    segment(scene, tmp_path / "out.gpkg", model=model, core=32, gsd=0.5)
    assert opened.count("scene.tif") == 1


def test_five_frames_lie_between_the_tool_and_the_forward_pass_of_the_network(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(60, 60), **UTM)
    stacks: list[list[str]] = []
    forward = UNet.forward
    package = Path(geoseg.__file__).parent

    def record(network: UNet, image: Any) -> Any:
        frames = traceback.extract_stack()[:-1]
        ours = [frame.name for frame in frames if package in Path(frame.filename).parents]
        if "segment" in ours and "predict_scene" in ours:  # else memory is measured
            stacks.append(ours[ours.index("segment") + 1 :])
        return forward(network, image)

    monkeypatch.setattr(UNet, "forward", record)
    segment(scene, tmp_path / "out.gpkg", model=model, core=32)
    assert len(stacks) == 4
    assert all(len(stack) <= 5 for stack in stacks), stacks[0]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_workers_of_an_executor_give_the_same_bytes(tmp_path: Path, model: Path, kind: str) -> None:
    pixels = picture(90, 110)
    pixels[:, 20:50, 30:90] = 0
    scenes = [
        write_scene(tmp_path / "a.tif", pixels, nodata=0, **UTM),
        write_scene(
            tmp_path / "b.tif", picture(90, 40), nodata=0,
            **UTM | {"transform": UTM["transform"] @ Affine.translation(110, 0)},
        ),
    ]  # fmt: skip
    west, north = UTM["transform"] @ (10, 5)
    east, south = UTM["transform"] @ (140, 80)
    how = {
        "model": model, "mosaic": True, "core": 32, "tta": True, "gsd": 0.4,
        "bbox": (west, south, east, north),
    }  # fmt: skip
    rasters = [f"{name}.tif" for name in ("labels", "confidence", "probabilities")]
    products = {}
    with (
        ThreadPoolExecutor(2)
        if kind == "thread"
        else ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    ) as workers:
        for executor in (None, workers):
            folder = tmp_path / f"workers-{executor is not None}"
            folder.mkdir()
            named = {name.removesuffix(".tif"): folder / name for name in rasters}
            segment(scenes, folder / "o.gpkg", executor=executor, **named, **how)
            products[executor is None] = [(folder / name).read_bytes() for name in rasters]
    assert products[True] == products[False]


def test_the_interior_of_objects_is_a_raster_with_the_rules_of_the_model(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(90, 80), **UTM)
    model = objects_model_file(tmp_path / "objects.safetensors")
    interior, labels = tmp_path / "interior.tif", tmp_path / "labels.tif"
    segment(
        scene, tmp_path / "out.gpkg", model=model, labels=labels, interior=interior, split="none"
    )
    with rasterio.open(interior) as raster, rasterio.open(labels) as of_classes:
        assert raster.shape == of_classes.shape
        assert raster.transform == of_classes.transform
        assert 20 < np.unique(raster.read(1)).size <= 201
        assert read_rules(raster.tags(), LEGEND) == RULES


def test_a_model_without_object_outputs_has_no_interior(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(40, 40), **UTM)
    model = model_file(tmp_path / "tiny.safetensors")
    with pytest.raises(ConfigError, match=r"--interior: tiny\.safetensors has no object outputs"):
        segment(scene, tmp_path / "out.gpkg", model=model, interior=tmp_path / "interior.tif")


def test_a_pixel_size_without_crs_gives_the_labels_and_metres_of_a_scene_with_one(
    tmp_path: Path,
) -> None:
    model = model_file(tmp_path / "model.safetensors", pixel_size_m=(0.25, 0.3))
    pixels = picture(60, 50)
    plain = write_scene(tmp_path / "plain.png", pixels, driver="PNG")
    grid = Affine(0.5, 0, 500_000, 0, -0.5, 5_500_000)
    placed = write_scene(tmp_path / "placed.tif", pixels, crs="EPSG:32633", transform=grid)
    tables, labels = [], []
    for scene, size in ((plain, 0.5), (placed, None)):
        output, raster = scene.with_suffix(".gpkg"), tmp_path / f"{scene.stem}-labels.tif"
        options = PolygonOptions(min_area_m2=1)
        segment(scene, output, model=model, labels=raster, pixel_size_m=size, polygons=options)
        tables.append(polygons(output))
        with rasterio.open(raster) as dataset:
            labels.append(dataset.read(1))
    assert np.array_equal(*labels)
    assert len(tables[0]) == len(tables[1])
    for column in ("area_m2", "perimeter_m", "box_length_m", "box_width_m"):
        # the ground is 0.04 % longer than the map
        assert tables[0][column].to_numpy() == pytest.approx(tables[1][column], rel=1e-3, abs=2e-3)
    again = geoseg.vectorize(tmp_path / "plain-labels.tif", polygons=PolygonOptions(min_area_m2=1))
    assert sorted(again["area_m2"]) == sorted(tables[0]["area_m2"])


def test_rasters_of_a_scene_without_geotransform_have_none_either(tmp_path: Path) -> None:
    model = objects_model_file(tmp_path / "model.safetensors")
    scene = write_scene(tmp_path / "plain.png", picture(60, 50), driver="PNG")
    products = {kind: tmp_path / f"{kind}.tif" for kind in ("labels", "confidence", "objects")}
    segment(scene, tmp_path / "out.gpkg", model=model, **products)
    for product in products.values():
        with pytest.warns(NotGeoreferencedWarning), rasterio.open(product):
            pass
