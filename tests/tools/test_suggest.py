"""suggest: a layer of ranked frames, from a model or from rasters of an earlier run."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine

from geoseg.annotations.validation import ValidationReport
from geoseg.annotations.vector import read_annotated_area
from geoseg.cli import boundary
from geoseg.cli import geoseg as program
from geoseg.dataset.images import inspect_image
from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.options import SceneOptions, SuggestOptions
from geoseg.tools.suggest import suggest
from tests.calls import segment
from tests.exact_network import exact_model_file
from tests.scenes import LEGEND, UTM, picture, write_scene

SIDE = 160
OPTIONS = SuggestOptions(frames=3, size=40)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exact_model_file(tmp_path_factory.mktemp("model") / "exact.safetensors", seed=3)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    pixels = picture(SIDE, SIDE)
    pixels[:, :, 120:] = 0
    return write_scene(tmp_path / "scene.tif", pixels, nodata=0, **UTM)


def read(path: Path) -> geopandas.GeoDataFrame:
    return pyogrio.read_dataframe(path, layer="frames")


def in_pixels(table: geopandas.GeoDataFrame, transform: Affine = UTM["transform"]) -> Any:
    a, b, c, d, e, f = (~transform)[:6]
    return shapely.transform(
        table.geometry.to_numpy(), lambda xy: xy @ np.array([[a, d], [b, e]]) + [c, f]
    )


def test_frames_are_ranked_polygons_on_the_scene(tmp_path: Path, scene: Path, model: Path) -> None:
    out = suggest(scene, tmp_path / "frames.gpkg", model=model, options=OPTIONS)
    table = read(out)
    assert list(table.columns) == ["rank", "uncertainty", "classes", "reason", "geometry"]
    assert table["rank"].tolist() == [1, 2, 3]
    assert table.crs == UTM["crs"]
    boxes = in_pixels(table)
    assert np.allclose(shapely.area(boxes), 40 * 40)
    assert (shapely.bounds(boxes)[:, 2] <= 120 + 1e-6).all()  # not on nodata
    assert set(", ".join(table["classes"]).split(", ")) <= set(LEGEND.names[1:])
    assert table["uncertainty"].between(0, 1).all()
    assert table["reason"].str.contains("times the mean").all()
    assert {file.name for file in tmp_path.iterdir()} == {"scene.tif", "frames.gpkg"}


def test_the_first_frame_is_the_most_uncertain_without_other_criteria(
    tmp_path: Path, scene: Path
) -> None:
    entropy = np.full((SIDE, SIDE), 20, np.uint8)
    entropy[40:80, 80:120] = 150
    rasters = write_rasters(tmp_path, np.zeros((SIDE, SIDE), np.uint8), entropy)
    options = SuggestOptions(frames=1, size=40, **rasters)
    table = read(suggest(scene, tmp_path / "frames.gpkg", options=options))
    assert in_pixels(table)[0].bounds == pytest.approx((80, 40, 120, 80), abs=1e-6)
    assert table["uncertainty"].tolist() == [0.75]


def write_rasters(folder: Path, labels: Any, entropy: Any, **profile: Any) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for name, values in (("labels", labels), ("uncertainty", entropy)):
        paths[name] = folder / f"{name}.tif"
        rows, columns = values.shape
        with rasterio.open(
            paths[name], "w", driver="GTiff", width=columns, height=rows, count=1, dtype="uint8",
            nodata=255, **UTM | profile,
        ) as raster:  # fmt: skip
            raster.write(values, 1)
    return paths


def test_rasters_of_a_run_give_the_same_frames(tmp_path: Path, scene: Path, model: Path) -> None:
    predicted = read(suggest(scene, tmp_path / "a.gpkg", model=model, options=OPTIONS))
    rasters: dict[str, Any] = {n: tmp_path / f"{n}.tif" for n in ("labels", "uncertainty")}
    segment(scene, tmp_path / "out.gpkg", model=model, split="none", **rasters)
    options = SuggestOptions(frames=3, size=40, **rasters)
    assert read(suggest(scene, tmp_path / "b.gpkg", options=options)).equals(predicted)


def test_annotated_frames_are_left_out_and_the_next_ones_follow(
    tmp_path: Path, scene: Path, model: Path
) -> None:
    first = suggest(scene, tmp_path / "a.gpkg", model=model, options=OPTIONS)
    options = SuggestOptions(frames=30, size=40, annotated_area=first)
    more = read(suggest(scene, tmp_path / "b.gpkg", model=model, options=options))
    assert len(more) == 4 * 3 - 3
    overlap = more.geometry.intersection(read(first).union_all()).area
    assert overlap.max() < 1e-6


def test_frames_lie_in_the_area_of_interest(tmp_path: Path, scene: Path, model: Path) -> None:
    west, north = UTM["transform"] @ (0, 80)
    east, south = UTM["transform"] @ (80, 160)
    source = SceneOptions(bbox=(west, south, east, north))
    out = suggest(scene, tmp_path / "a.gpkg", model=model, source=source, options=OPTIONS)
    bounds = shapely.bounds(in_pixels(read(out)))
    assert bounds[:, 0].min() > -1e-6
    assert (bounds[:, 1].min(), bounds[:, 2].max()) == pytest.approx((80, 80), abs=1e-6)


def test_a_scene_without_georeference_has_frames_in_its_pixels(tmp_path: Path, model: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(SIDE, SIDE))
    table = read(suggest(scene, tmp_path / "frames.gpkg", model=model, options=OPTIONS))
    bounds = table.total_bounds
    assert table.crs is None or "ndefined" in str(table.crs)
    assert (np.abs(bounds) <= SIDE).all()


def test_the_layer_is_styled_with_its_ranks(tmp_path: Path, scene: Path, model: Path) -> None:
    out = suggest(scene, tmp_path / "frames.gpkg", model=model, options=OPTIONS)
    with closing(sqlite3.connect(out)) as database:
        ((name, qml),) = database.execute("SELECT f_table_name, styleQML FROM layer_styles")
    qgis = ElementTree.fromstring(qml)
    assert name == "frames"
    assert qgis.get("labelsEnabled") == "1"
    text = qgis.find("labeling/settings/text-style")
    assert text is not None
    assert text.get("fieldName") == "rank"


def test_fewer_frames_than_asked_for_is_a_warning_and_none_an_error(
    tmp_path: Path, scene: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entropy = np.full((SIDE, SIDE), 255, np.uint8)
    entropy[:40, :40] = 9
    zeros = np.zeros((SIDE, SIDE), np.uint8)
    options = SuggestOptions(frames=3, size=40, **write_rasters(tmp_path, zeros, entropy))
    assert len(read(suggest(scene, tmp_path / "a.gpkg", options=options))) == 1
    assert "only 1 frames are left" in caplog.text
    write_rasters(tmp_path, zeros, np.full((SIDE, SIDE), 255, np.uint8))
    with pytest.raises(SceneError, match="no frame is left"):
        suggest(scene, tmp_path / "b.gpkg", options=options)
    assert not (tmp_path / "b.gpkg").exists()


def test_mistakes_are_named_before_any_work(tmp_path: Path, scene: Path, model: Path) -> None:
    zeros = np.zeros((SIDE, SIDE), np.uint8)
    rasters = write_rasters(tmp_path, zeros, zeros)
    out = tmp_path / "frames.gpkg"
    with pytest.raises(ConfigError, match="needed together"):
        suggest(scene, out, options=SuggestOptions(labels=rasters["labels"]))
    with pytest.raises(ConfigError, match=r"Name it \.gpkg"):
        suggest(scene, tmp_path / "frames.shp", model=model)
    shifted = {"transform": UTM["transform"] @ Affine.translation(7, 0)}
    write_rasters(tmp_path, zeros, zeros, **shifted)
    with pytest.raises(SceneError, match="not on the grid of"):
        suggest(scene, out, options=SuggestOptions(**rasters))
    assert not out.exists()
    made = suggest(scene, out, model=model, options=OPTIONS)
    with pytest.raises(OutputError, match="exists"):
        suggest(scene, made, model=model, options=OPTIONS)
    area = SuggestOptions(annotated_area=made, overwrite=True)
    with pytest.raises(OutputError, match="one of the inputs"):
        suggest(scene, made, model=model, options=area)


def test_the_command_prints_the_path(
    tmp_path: Path, scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "frames.gpkg"
    arguments = ["suggest", str(scene), "-m", str(model), "-o", str(out), "--frames", "2"]
    assert boundary.run(program, [*arguments, "--size", "40", "--progress", "none"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert len(read(out)) == 2


def test_frames_of_an_image_without_georeference_are_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = write_scene(tmp_path / "plain.tif", picture(SIDE, SIDE))
    labels = np.zeros((SIDE, SIDE), np.uint8)
    plain = {"transform": None, "crs": None}
    given = write_rasters(tmp_path, labels, np.full_like(labels, 20), **plain)
    few = replace(OPTIONS, frames=2, **given)
    frames = suggest(image, tmp_path / "frames.gpkg", options=few)
    more = suggest(image, tmp_path / "more.gpkg", options=replace(few, annotated_area=frames))
    first, second = (geopandas.read_file(path, layer="frames").geometry for path in (frames, more))
    assert shapely.area(shapely.intersection(first.union_all(), second.union_all())) == 0
    (area,) = read_annotated_area(frames, [inspect_image(image)], ValidationReport())
    assert area.area == 2 * 40 * 40
    assert not caplog.messages


def test_an_annotated_area_on_another_scene_is_warned_of(
    tmp_path: Path, scene: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    given = write_rasters(tmp_path, labels, np.full_like(labels, 20))
    far = geopandas.GeoDataFrame(geometry=[shapely.box(4, 51, 5, 52)], crs=4326)
    far.to_file(tmp_path / "far.gpkg")
    options = replace(OPTIONS, annotated_area=tmp_path / "far.gpkg", **given)
    suggest(scene, tmp_path / "frames.gpkg", options=options)
    assert [m for m in caplog.messages if "nothing of it is on" in m]
