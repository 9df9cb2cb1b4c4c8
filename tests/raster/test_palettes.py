"""Palettes and GeoPackage rasters are read as colours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from PIL import Image
from rasterio.shutil import copy
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.raster.scene import open_scene
from tests.scenes import UTM, picture, write_scene

COLOURS = {n: (n, 255 - n, n * 7 % 256, 255) for n in range(256)}


def palette(path: Path, index: NDArray[np.uint8], colours: Mapping[int, tuple[int, ...]]) -> Path:
    """Write (h, w) indices with a colour table."""
    size = {"height": index.shape[0], "width": index.shape[1], "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **size, **UTM) as dataset:
        dataset.write_colormap(1, dict(colours))
        dataset.write(index, 1)
    return path


def expand(path: Path) -> NDArray[np.uint8]:
    """Let GDAL expand a palette into red, green and blue."""
    copy(path, path.with_suffix(".vrt"), driver="VRT")
    text = path.with_suffix(".vrt").read_text(encoding="utf-8")
    bands = []
    for component in (1, 2, 3):
        source = text.replace("SimpleSource", "ComplexSource").replace(
            "</ComplexSource>",
            f"<ColorTableComponent>{component}</ColorTableComponent></ComplexSource>",
        )
        path.with_suffix(".vrt").write_text(source, encoding="utf-8")
        with rasterio.open(path.with_suffix(".vrt")) as dataset:
            bands.append(dataset.read(1))
    return np.stack(bands)


def test_a_palette_reads_as_gdal_expands_it(tmp_path: Path) -> None:
    path = palette(tmp_path / "p.tif", picture(30, 40, bands=1)[0], COLOURS)
    with open_scene(path, bands=3, dtype="uint8") as scene:
        pixels, valid = scene.read(Window(0, 0, 40, 30))
        assert np.array_equal(pixels, expand(path))
        assert np.array_equal(scene.read(Window(5, 6, 7, 8))[0], pixels[:, 6:14, 5:12])
        assert (scene.info.count, scene.info.dtype) == (3, "uint8")
        assert scene.band_names == ("red", "green", "blue")
    assert valid.all()
    with open_scene(path, indexes=("blue", 1)) as scene:
        assert np.array_equal(scene.read(Window(0, 0, 40, 30))[0], pixels[[2, 0]])


def test_nodata_of_a_palette_is_not_valid(tmp_path: Path) -> None:
    path = palette(tmp_path / "p.tif", np.array([[0, 1, 2]], np.uint8), COLOURS)
    with rasterio.open(path, "r+") as dataset:
        dataset.nodata = 2
    with open_scene(path) as scene:
        pixels, valid = scene.read(Window(0, 0, 3, 1))
    assert valid.tolist() == [[True, True, False]]
    assert pixels[:, 0].T.tolist() == [[0, 255, 0], [1, 254, 7], [0, 0, 0]]


def test_transparent_entries_of_a_palette_are_not_valid(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    image.putpalette([1, 1, 1, 5, 6, 7, 3, 3, 3])
    image.save(tmp_path / "p.png", transparency=bytes([255, 0, 128]))
    with open_scene(tmp_path / "p.png") as scene:
        pixels, valid = scene.read(Window(0, 0, 2, 2))
    assert valid.tolist() == [[True, False], [True, False]]
    assert pixels[0].tolist() == [[1, 0], [3, 0]]


def test_an_index_beyond_a_palette_is_black(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 9]], np.uint8))
    image.putpalette([8, 8, 8])
    image.save(tmp_path / "p.png")
    with open_scene(tmp_path / "p.png") as scene:
        assert scene.read(Window(0, 0, 2, 1))[0].tolist() == [[[8, 0]]] * 3


def test_a_geopackage_raster_reads_as_rasterio_reads_it(tmp_path: Path) -> None:
    colours = picture(300, 280)
    path = write_scene(tmp_path / "map.gpkg", colours, driver="GPKG", tile_format="PNG", **UTM)
    with rasterio.open(path) as truth:
        expected, mask = truth.read([1, 2, 3]), truth.dataset_mask() != 0
    with open_scene(path, bands=3, dtype="uint8") as scene:
        pixels, valid = scene.read(Window(0, 0, 280, 300))
    assert np.array_equal(valid, mask)
    assert np.array_equal(pixels, np.where(mask, expected, 0))
    assert np.array_equal(pixels, colours)


def test_a_geopackage_of_heights_keeps_its_numbers(tmp_path: Path) -> None:
    heights = np.arange(600, dtype=np.int16).reshape(1, 20, 30) - 100
    path = write_scene(tmp_path / "h.gpkg", heights, driver="GPKG", **UTM)
    with open_scene(path) as scene:
        pixels, valid = scene.read(Window(0, 0, 30, 20))
        assert scene.info.dtype == "int16"
    assert valid.all()
    assert np.array_equal(pixels, heights)


def test_of_several_rasters_in_a_geopackage_none_is_guessed(tmp_path: Path) -> None:
    path = tmp_path / "maps.gpkg"
    for number, table in enumerate(("north", "south")):
        more = {"raster_table": table, "append_subdataset": "YES" if number else "NO"}
        write_scene(path, picture(20, 20), driver="GPKG", **more, **UTM)
    with pytest.raises(SceneError, match=f"2 rasters: north, south.*GPKG:{path}:north"):
        open_scene(path).__enter__()


def test_a_geopackage_of_polygons_is_no_scene(tmp_path: Path) -> None:
    table = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32633")
    table.to_file(tmp_path / "p.gpkg", driver="GPKG")
    with pytest.raises(SceneError, match="no raster"):
        open_scene(tmp_path / "p.gpkg").__enter__()


def test_a_palette_of_four_bits_is_read(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 3]], np.uint8))
    image.putpalette([8, 8, 8, 0, 0, 0, 0, 0, 0, 5, 5, 5])
    image.save(tmp_path / "p.png", bits=4)
    with open_scene(tmp_path / "p.png") as scene:
        assert scene.read(Window(0, 0, 2, 1))[0].tolist() == [[[8, 5]]] * 3
