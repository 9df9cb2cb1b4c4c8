"""segment --uncertainty: raster, column and style; the same bytes for any tiles and interruptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.errors import ConfigError
from geoseg.legend import IGNORE
from tests.calls import export, segment
from tests.exact_network import exact_model_file
from tests.scenes import UTM, picture, write_scene
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


def write(folder: Path, scene: Path, model: Path, **more: Any) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    products = folder / "out.gpkg", folder / "uncertainty.tif"
    segment(scene, products[0], model=model, uncertainty=products[1], **more)
    return products


def read(raster: Path) -> NDArray[np.uint8]:
    with rasterio.open(raster) as dataset:
        assert dataset.dtypes == ("uint8",)
        values: NDArray[np.uint8] = dataset.read(1)
        return values


@settings(max_examples=6)
@given(
    height=st.integers(40, 130), width=st.integers(40, 130), core=st.integers(16, 90),
    margin=st.integers(CONTEXT, 20), batch_size=st.integers(1, 3), seed=st.integers(0, 9),
)  # fmt: skip
def test_uncertainty_is_that_of_the_whole_scene_for_any_tiling(
    tmp_path_factory: pytest.TempPathFactory, model: Path,
    height: int, width: int, core: int, margin: int, batch_size: int, seed: int,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("uncertainty")
    scene = draw_scene(folder / "scene.tif", height, width, seed)
    whole = write(folder / "whole", scene, model, core=4096)
    cut = {"core": core, "margin": margin, "batch_size": batch_size}
    tiled = write(folder / "tiled", scene, model, **cut)
    assert tiled[1].read_bytes() == whole[1].read_bytes()


def test_an_interrupted_run_ends_in_the_same_bytes(tmp_path: Path, model: Path) -> None:
    scene = draw_scene(tmp_path / "scene.tif")
    cut = {"core": 48, "margin": CONTEXT}
    whole = write(tmp_path / "whole", scene, model, **cut)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "parts", scene, model, track=StopAfter(3), **cut)
    parts = write(tmp_path / "parts", scene, model, **cut)
    assert parts[1].read_bytes() == whole[1].read_bytes()
    columns = [
        pyogrio.read_dataframe(made[0], layer="segments")["uncertainty"] for made in (whole, parts)
    ]
    assert columns[0].tolist() == columns[1].tolist()


@pytest.mark.parametrize("split", ["interior", "none"])
def test_the_column_is_the_mean_of_the_raster_in_the_polygon(
    tmp_path: Path, model: Path, split: str
) -> None:
    scene = draw_scene(tmp_path / "scene.tif")
    out, raster = write(tmp_path / "made", scene, model, split=split)
    values = read(raster)
    polygons = pyogrio.read_dataframe(out, layer="segments")
    ids = rasterize(
        zip(polygons.geometry, range(1, len(polygons) + 1), strict=True),
        out_shape=values.shape, transform=UTM["transform"], dtype="int32",
    )  # fmt: skip
    known = values != IGNORE
    sums = np.bincount(ids[known], values[known], len(polygons) + 1)[1:]
    counts = np.bincount(ids[known], minlength=len(polygons) + 1)[1:]
    np.testing.assert_allclose(polygons["uncertainty"], sums / counts / 200, atol=6e-4)
    assert polygons["uncertainty"].nunique() > 20


def test_the_raster_is_a_styled_cog_with_nodata(tmp_path: Path, model: Path) -> None:
    scene = draw_scene(tmp_path / "scene.tif", 600, 700)
    _, raster = write(tmp_path / "made", scene, model, split="none")
    with rasterio.open(raster) as dataset, rasterio.open(scene) as source:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.overviews(1) == [2]
        assert (dataset.nodata, dataset.transform) == (IGNORE, source.transform)
        values = dataset.read(1)
        assert np.array_equal(values == IGNORE, source.read(1) == 0)
    assert values[values != IGNORE].max() <= 200
    style = ElementTree.fromstring(raster.with_suffix(".qml").read_text())
    renderer = style.find("pipe/rasterrenderer")
    assert renderer is not None
    assert renderer.get("type") == "singlebandpseudocolor"
    items = [float(item.get("value", "nan")) for item in renderer.iter("item")]
    assert (items[0], items[-1]) == (0, 200)
    assert {file.name for file in raster.parent.iterdir()} == {
        "out.gpkg", "uncertainty.tif", "uncertainty.qml"
    }  # fmt: skip


def test_style_files_of_two_rasters_do_not_collide(tmp_path: Path, model: Path) -> None:
    scene = draw_scene(tmp_path / "scene.tif", 40, 40)
    rasters = {"labels": tmp_path / "made.tif", "uncertainty": tmp_path / "made.tiff"}
    with pytest.raises(ConfigError, match="its style file would have the name"):
        segment(scene, tmp_path / "out.gpkg", model=model, **rasters)


def test_without_the_option_nothing_changes(tmp_path: Path, model: Path) -> None:
    scene = draw_scene(tmp_path / "scene.tif")
    rasters = {name: tmp_path / f"{name}.tif" for name in ("labels", "confidence", "interior")}
    with_it = {name: tmp_path / f"with_{name}.tif" for name in rasters}
    plain = segment(scene, tmp_path / "plain.gpkg", model=model, **rasters)
    other = segment(
        scene, tmp_path / "with.gpkg", model=model, uncertainty=tmp_path / "u.tif", **with_it
    )
    for name, raster in rasters.items():
        assert raster.read_bytes() == with_it[name].read_bytes()
    tables = [pyogrio.read_dataframe(made, layer="segments") for made in (plain, other)]
    assert "uncertainty" not in tables[0]
    assert tables[1].drop(columns="uncertainty").equals(tables[0])


def test_onnx_gives_the_uncertainty_of_torch(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("onnxruntime")
    scene = draw_scene(tmp_path / "scene.tif", 64, 64)
    graph = export(tmp_path / "exact.onnx", model=model, size=64, objects=True)
    cut = {"split": "none", "margin": 0}
    one = read(write(tmp_path / "torch", scene, model, core=64, **cut)[1])
    other = read(write(tmp_path / "onnx", scene, graph, **cut)[1])
    assert np.array_equal(one == IGNORE, other == IGNORE)
    assert np.abs(one.astype(int) - other).max() <= 1
