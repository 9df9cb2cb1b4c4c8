"""Pictures show the scene, its polygons in place, and a legend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.legend import DOTA_V1, Legend
from geoseg.report.picture import WIDTH, draw_panel, draw_picture, round_length
from tests.calls import vectorize

LEGEND = Legend.of({"red $x^2$ <thing>": "#e6194b", "grün 船": "#3cb44b", "navy": "#000075"})
NORTH_UP = Affine(0.5, 0, 600000, 0, -0.5, 5800000)
TURNED = Affine.translation(600000, 5800000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
GREY = 120


def save(path: Path, pixels: NDArray[Any], transform: Affine = NORTH_UP, **options: Any) -> Path:
    count, height, width = pixels.shape
    profile = {"count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32632", transform=transform, **profile, **options
    ) as file:
        file.write(pixels)
    return path


def scene_of(path: Path, height: int, width: int, transform: Affine = NORTH_UP) -> Path:
    return save(path, np.full((3, height, width), GREY, np.uint8), transform)


def polygons_of(path: Path, labels: NDArray[np.uint8], transform: Affine = NORTH_UP) -> Path:
    raster = save(path.with_suffix(".labels.tif"), labels[None], transform)
    vectorize(raster, path, legend=LEGEND)
    return path


def pixels_of(path: Path) -> NDArray[np.int64]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture[..., ::-1].astype(np.int64)


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED], ids=["north up", "turned"])
def test_outlines_have_the_colour_of_their_class_at_their_place(
    tmp_path: Path, transform: Affine
) -> None:
    labels = np.zeros((200, 300), np.uint8)
    labels[50:150, 100:200] = 1
    polygons = polygons_of(tmp_path / "p.gpkg", labels, transform)
    scene = scene_of(tmp_path / "s.tif", 200, 300, transform)
    picture = pixels_of(draw_picture(scene, polygons, tmp_path / "o.png", LEGEND, size=600))
    red = np.array(LEGEND.rgb(1))
    for x, y in ((200, 200), (400, 200), (300, 100), (300, 300)):  # the middles of its sides
        around = picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)
        assert (np.abs(around - red).sum(axis=1) < 30).any()
    inside, outside = picture[200, 300], picture[50, 50]
    assert (outside == GREY).all()
    assert inside[0] > GREY > inside[1]  # tinted, and still the scene


def test_a_hole_is_not_filled(tmp_path: Path) -> None:
    labels = np.ones((200, 200), np.uint8)
    labels[60:140, 60:140] = 0
    polygons = polygons_of(tmp_path / "p.gpkg", labels)
    scene = scene_of(tmp_path / "s.tif", 200, 200)
    picture = pixels_of(draw_picture(scene, polygons, tmp_path / "o.png", LEGEND, size=200))
    assert (picture[100, 100] == GREY).all()


def test_an_object_of_one_pixel_in_a_large_scene_can_be_seen(tmp_path: Path) -> None:
    labels = np.zeros((3000, 3000), np.uint8)
    labels[1500, 1500] = 2
    polygons = polygons_of(tmp_path / "p.gpkg", labels)
    scene = scene_of(tmp_path / "s.tif", 3000, 3000)
    picture = pixels_of(draw_picture(scene, polygons, tmp_path / "o.png", LEGEND, size=300))
    near = picture[147:154, 147:154].reshape(-1, 3)
    assert near[:, 1].max() - near[:, 0].min() > 60  # green


def test_nodata_of_the_scene_is_light_grey(tmp_path: Path) -> None:
    pixels = np.full((4, 100, 100), GREY, np.uint8)
    pixels[3] = 255
    pixels[3, :, :40] = 0
    scene = save(tmp_path / "s.tif", pixels)
    with rasterio.open(scene, "r+") as file:
        red, green, blue, alpha = (
            getattr(ColorInterp, n) for n in ("red", "green", "blue", "alpha")
        )
        file.colorinterp = [red, green, blue, alpha]
    polygons = polygons_of(tmp_path / "p.gpkg", np.zeros((100, 100), np.uint8))
    picture = pixels_of(draw_picture(scene, polygons, tmp_path / "o.png", LEGEND, size=100))
    assert (picture[:, :35] == 245).all()
    assert (picture[:100, 45:100] == GREY).all()


@pytest.mark.parametrize("bands", [1, 2, 3, 8])
def test_any_number_of_bands_and_any_type_is_stretched_to_a_picture(
    tmp_path: Path, bands: int
) -> None:
    ramp = np.linspace(1000, 3000, 100 * 100).reshape(100, 100)
    scene = save(tmp_path / "s.tif", np.repeat(ramp[None], bands, axis=0).astype(np.uint16))
    polygons = polygons_of(tmp_path / "p.gpkg", np.zeros((100, 100), np.uint8))
    picture = pixels_of(draw_picture(scene, polygons, tmp_path / "o.png", LEGEND, size=100))
    assert picture[0, 0].max() <= 5
    assert picture[99, 99].min() >= 250


def test_the_picture_has_the_requested_size_and_a_legend_to_its_right(tmp_path: Path) -> None:
    polygons = polygons_of(tmp_path / "p.gpkg", np.ones((300, 500), np.uint8))
    scene = scene_of(tmp_path / "s.tif", 300, 500)
    picture = pixels_of(draw_picture(scene, polygons, tmp_path / "o.png", LEGEND, size=800))
    assert picture.shape == (480, 800 + WIDTH // 2, 3)


def test_mistakes_raise_errors_and_leave_no_file(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "s.tif", 50, 50)
    polygons = polygons_of(tmp_path / "p.gpkg", np.full((50, 50), 3, np.uint8))
    output = tmp_path / "o.png"
    with pytest.raises(ConfigError, match=r"ends in \.png"):
        draw_picture(scene, polygons, tmp_path / "o.jpg", LEGEND)
    with pytest.raises(SceneError, match="no polygons of geoseg"):
        draw_picture(scene, scene, output, LEGEND)
    with pytest.raises(SceneError, match="no polygons of geoseg"):
        draw_picture(scene, polygons, output, LEGEND, layer="other")
    with pytest.raises(SceneError, match="class IDs 3 to 3, but the legend has 1 to 1"):
        draw_picture(scene, polygons, output, Legend.of({"one": "#ffffff"}))
    assert not output.exists()
    output.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        draw_picture(scene, polygons, output, LEGEND)
    draw_picture(scene, polygons, output, LEGEND, overwrite=True)
    assert output.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("height", [60, 200, 533, 1600])
@pytest.mark.parametrize("scale", [0.25, 0.7, 1.0])
def test_a_panel_has_the_requested_size(height: int, scale: float) -> None:
    counts = {item.id: 1000 // item.id for item in DOTA_V1.objects}
    panel = draw_panel("scene.tif", counts, DOTA_V1, height=height, scale=scale, pixel_size_m=0.3)
    assert panel.shape == (height, round(WIDTH * scale), 3)


def test_a_panel_shows_the_colours_of_the_classes_with_polygons() -> None:
    panel = draw_panel("a" * 80, {1: 2, 3: 1}, LEGEND, height=400)
    colours = {tuple(colour) for colour in panel.reshape(-1, 3).tolist()}
    assert {LEGEND.rgb(1), LEGEND.rgb(3)} <= colours
    assert LEGEND.rgb(2) not in colours


@given(st.floats(1e-3, 1e7))
def test_scale_bars_have_round_lengths(longest: float) -> None:
    length = round_length(longest)
    assert length <= longest < 2.6 * length
    assert f"{length:.0e}"[0] in "125"


def test_a_crowd_of_tiny_objects_does_not_hide_the_scene(tmp_path: Path) -> None:
    labels = np.zeros((1200, 1200), np.uint8)
    labels[::12, ::12] = 1  # one pixel in 144, each smaller than a line of the picture is wide
    polygons = polygons_of(tmp_path / "p.gpkg", labels)
    scene = scene_of(tmp_path / "s.tif", 1200, 1200)
    picture = pixels_of(draw_picture(scene, polygons, tmp_path / "o.png", LEGEND, size=600))
    drawn = (picture[:600, :600] != GREY).any(axis=2)
    assert 1 / 36 <= drawn.mean() < 0.2
