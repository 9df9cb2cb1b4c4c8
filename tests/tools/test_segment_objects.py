"""segment and evaluate with objects: compared with objects decoded in memory, whatever the tiles."""

from __future__ import annotations

from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.errors import ConfigError, OutputError
from geoseg.inference.predictor import ModelSpec, create_predictor
from geoseg.inference.reader import SceneSpec, open_scenes
from geoseg.inference.run import predict_locally
from geoseg.inference.tiling import choose_tiles
from geoseg.models.model_file import load_model
from geoseg.polygons.objects import Objects, decode_objects
from geoseg.polygons.writers.gpkg import read_provenance
from tests.calls import segment, segment_each
from tests.exact_network import exact_model_file
from tests.scenes import LEGEND, RULES, UTM, model_file, picture, write_scene
from tests.tools.test_segment_resume import StopAfter

CONTEXT = 8
"""Receptive field of the exact network beyond a core."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exact_model_file(tmp_path_factory.mktemp("model") / "exact.safetensors", seed=3)


def draw_scene(path: Path, height: int = 150, width: int = 170, seed: int = 0) -> Path:
    pixels = picture(height, width, seed=seed)
    pixels[:, height // 3 : height // 2, width // 4 : width // 2] = 0
    return write_scene(path, pixels, nodata=0, **UTM)


def decode_whole(scene: Path, model: Path) -> Objects:
    """Predict a scene in one tile and decode its objects in memory."""
    opened = load_model(model)
    with open_scenes([scene]) as scenes:
        reader = scenes.reader(SceneSpec((scene,), bands=3, dtype="uint8"))
        tiles = choose_tiles(reader.width, reader.height, opened, core=4096)
        predictor = create_predictor(ModelSpec(objects=True), opened)
        with predict_locally(reader, predictor, tiles) as predictions:
            (prediction,) = predictions
    assert prediction is not None
    labels, _, interior = prediction.planes
    return decode_objects(labels, interior, RULES, LEGEND.countable, across_classes=True)


def write_objects(folder: Path, scene: Path, model: Path, **more: Any) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    products = folder / "objects.gpkg", folder / "objects.tif"
    segment(scene, products[0], model=model, objects=products[1], **more)
    return products


def read_ids(raster: Path) -> NDArray[np.uint32]:
    with rasterio.open(raster) as dataset:
        assert dataset.dtypes == ("uint32",)
        ids: NDArray[np.uint32] = dataset.read(1)
        return ids


def check(products: tuple[Path, Path], expected: Objects) -> None:
    """Compare polygons and raster with objects in memory."""
    np.testing.assert_array_equal(read_ids(products[1]), expected.ids)
    polygons = pyogrio.read_dataframe(products[0], layer="segments").sort_values("id")
    assert polygons["id"].tolist() == list(range(1, len(expected.pixels) + 1))
    assert polygons["class_id"].tolist() == expected.class_id.tolist()
    assert polygons["pixels"].tolist() == expected.pixels.tolist()
    burned = rasterize(
        zip(polygons.geometry, polygons["id"], strict=True),
        out_shape=expected.ids.shape, transform=UTM["transform"], dtype="int32",
    )  # fmt: skip
    np.testing.assert_array_equal(burned, expected.ids)


@settings(max_examples=8)
@given(
    height=st.integers(40, 150), width=st.integers(40, 150), core=st.integers(16, 90),
    margin=st.integers(CONTEXT, 20), batch_size=st.integers(1, 3), seed=st.integers(0, 9),
)  # fmt: skip
def test_objects_are_those_of_the_whole_scene_for_any_tiling(
    tmp_path_factory: pytest.TempPathFactory, model: Path,
    height: int, width: int, core: int, margin: int, batch_size: int, seed: int,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("objects")
    scene = draw_scene(folder / "scene.tif", height, width, seed)
    cut = {"core": core, "margin": margin, "batch_size": batch_size}
    check(write_objects(folder / "made", scene, model, **cut), decode_whole(scene, model))


def test_a_scene_has_objects_that_touch(tmp_path: Path, model: Path) -> None:
    """Else the property above could hold for connected components."""
    scene = draw_scene(tmp_path / "scene.tif")
    products = write_objects(tmp_path / "made", scene, model)
    ids = read_ids(products[1])
    sides = ((ids[:, 1:], ids[:, :-1]), (ids[1:], ids[:-1]))
    touching = sum(int(((a != b) & (a > 0) & (b > 0)).sum()) for a, b in sides)
    assert touching > 20
    merged = segment(scene, tmp_path / "merged.gpkg", model=model, split="none")
    assert len(pyogrio.read_dataframe(merged, layer="segments")) != len(
        pyogrio.read_dataframe(products[0], layer="segments")
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_workers_give_the_same_objects(tmp_path: Path, model: Path, kind: type[Executor]) -> None:
    scene = draw_scene(tmp_path / "scene.tif")
    spawned = {} if kind is ThreadPoolExecutor else {"mp_context": get_context("spawn")}
    with kind(2, **spawned) as executor:  # type: ignore[call-arg]
        products = write_objects(
            tmp_path / "made", scene, model, core=48, margin="exact", executor=executor
        )
    check(products, decode_whole(scene, model))


def test_an_interrupted_run_ends_in_the_same_objects(tmp_path: Path, model: Path) -> None:
    scene = draw_scene(tmp_path / "scene.tif")
    cut = {"core": 48, "margin": CONTEXT}
    whole = write_objects(tmp_path / "whole", scene, model, **cut)
    for tiles in (1, 5):
        with pytest.raises(KeyboardInterrupt):
            write_objects(tmp_path / "parts", scene, model, track=StopAfter(tiles), **cut)
    parts = write_objects(tmp_path / "parts", scene, model, **cut)
    assert parts[1].read_bytes() == whole[1].read_bytes()
    rows = [
        pyogrio.read_dataframe(made[0], layer="segments").to_wkb().to_numpy().tolist()
        for made in (whole, parts)
    ]
    assert rows[0] == rows[1]


def test_a_run_that_merges_objects_does_not_resume_one_that_separates_them(
    tmp_path: Path, model: Path
) -> None:
    scene = draw_scene(tmp_path / "scene.tif")
    output = tmp_path / "out.gpkg"
    with pytest.raises(KeyboardInterrupt):
        segment(scene, output, model=model, core=48, track=StopAfter(2))
    with pytest.raises(ConfigError, match="object outputs was True, is False"):
        segment(scene, output, model=model, core=48, split="none")


def test_objects_are_numbered_in_each_scene(tmp_path: Path, model: Path) -> None:
    scenes = [draw_scene(tmp_path / f"{seed}.tif", 60, 70, seed) for seed in (1, 2)]
    output = segment(scenes, tmp_path / "out.gpkg", model=model)
    polygons = pyogrio.read_dataframe(output, layer="segments")
    for scene in scenes:
        numbers = sorted(polygons["id"][polygons["scene"] == scene.name])
        assert numbers == list(range(1, len(decode_whole(scene, model).pixels) + 1))


def test_a_folder_run_is_up_to_date_until_objects_are_merged(tmp_path: Path, model: Path) -> None:
    scene = draw_scene(tmp_path / "scene.tif", 60, 70)
    segment_each([scene], tmp_path / "made", model=model, objects=tmp_path / "ids")
    assert (tmp_path / "ids" / "scene.tif").exists()
    output = tmp_path / "made" / "scene.gpkg"
    before = output.stat().st_mtime_ns
    segment_each([scene], tmp_path / "made", model=model, objects=tmp_path / "ids")
    assert output.stat().st_mtime_ns == before
    (record,) = read_provenance(output, layer="segments")
    assert record["settings"]["--split"] == "interior"
    assert record["settings"]["object rules"] == RULES.to_json(LEGEND)
    with pytest.raises(
        OutputError, match=r"\(--split was interior, is none; object rules differ\)"
    ):
        segment_each([scene], tmp_path / "made", model=model, split="none")


def test_confidence_separates_objects_of_a_model_without_object_outputs(tmp_path: Path) -> None:
    scene = draw_scene(tmp_path / "scene.tif")
    model = model_file(tmp_path / "tiny.safetensors")
    with pytest.raises(ConfigError, match=r"objects are not separated\. Use --split confidence"):
        write_objects(tmp_path / "made", scene, model)
    products = write_objects(tmp_path / "made", scene, model, split="confidence")
    ids = read_ids(products[1])
    assert sorted(pyogrio.read_dataframe(products[0], layer="segments")["id"]) == list(
        range(1, ids.max() + 1)
    )


def test_merged_regions_have_no_raster_of_ids(tmp_path: Path, model: Path) -> None:
    scene = draw_scene(tmp_path / "scene.tif")
    with pytest.raises(ConfigError, match=r"Use --split confidence, or omit --merged"):
        write_objects(tmp_path / "made", scene, model, split="none")
