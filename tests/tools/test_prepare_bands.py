"""Datasets of any bands and data types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.shutil import copy
from rasterio.windows import Window

from geoseg.dataset.folder import Dataset
from geoseg.errors import GeosegError, SceneError
from geoseg.options import BatchOptions, PrepareOptions
from geoseg.raster.bands import BandStatistics
from geoseg.raster.histogram import DTYPES
from geoseg.raster.scene import open_scene
from geoseg.tools.prepare import prepare, prepare_scenes
from tests.scenes import UTM, picture, write_scene

WHOLE: dict[str, Any] = {"block": 1000, "val_share": 0}
"""Options that keep scenes whole, all in train."""


def measured(bands: int, dtype: str, seed: int = 0) -> NDArray[Any]:
    """(bands, 300, 270) values of a data type, each band in a range of its own."""
    rng = np.random.default_rng(seed)
    blotches = picture(300, 270, bands=bands, seed=seed) * np.float64(0.9)
    blotches += rng.random(blotches.shape)
    scale = {"uint8": 1, "uint16": 40, "int16": 30, "float32": 1e-3}[dtype]
    shift = -3000 if dtype == "int16" else 0
    offsets = np.arange(bands).reshape(-1, 1, 1) * (0 if dtype == "uint8" else 0.1)
    return ((blotches + offsets) * scale + shift).astype(dtype)


def source(path: Path, pixels: NDArray[Any], names: Sequence[str] = (), **profile: Any) -> Path:
    """Write a scene, with descriptions of its bands and no colours."""
    write_scene(path, pixels, **UTM, **profile)
    with rasterio.open(path, "r+") as dataset:
        if names:
            dataset.descriptions = names
            dataset.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * (len(names) - 1)]
    return path


def polygons(path: Path) -> Path:
    """Write two roofs in the west and the east of `measured`."""
    boxes = [shapely.box(x, 5_499_940, x + 9, 5_499_960) for x in (500_010, 500_060)]
    table = gpd.GeoDataFrame({"class": ["roof"] * 2}, geometry=boxes, crs="EPSG:32633")
    table.to_file(path, driver="GPKG")
    return path


def build(tmp_path: Path, *scenes: Path, **options: Any) -> Dataset:
    prepare_scenes(
        scenes,
        tmp_path / "dataset",
        annotations=polygons(tmp_path / "roofs.gpkg"),
        options=PrepareOptions(**{**WHOLE, **options}),
        run=BatchOptions(jobs=1, overwrite=True),
    )
    return Dataset.open(tmp_path / "dataset")


def stored(dataset: Dataset) -> NDArray[Any]:
    """Pixels of the first file of a dataset."""
    with rasterio.open(dataset.path(dataset.scenes[0])) as file:
        return np.asarray(file.read())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 8, 13])
def test_any_bands_of_any_type_come_out_as_rasterio_reads_them(
    tmp_path: Path, bands: int, dtype: str
) -> None:
    pixels = measured(bands, dtype)
    names = [f"B{n:02d}" for n in range(1, bands + 1)]
    path = source(tmp_path / "a.tif", pixels, names)
    dataset = build(tmp_path, path)
    assert (dataset.bands, dataset.dtype) == (bands, dtype)
    assert np.array_equal(stored(dataset), pixels)
    with rasterio.open(dataset.path(dataset.scenes[0])) as file:
        assert file.descriptions == tuple(names)
        assert file.profile["tiled"]
        assert file.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == ("3" if dtype == "float32" else "2")
        assert file.overviews(1) == []
        assert ColorInterp.alpha not in file.colorinterp
    with dataset.open_scene(dataset.scenes[0]) as scene:
        found, valid = scene.read(Window(0, 0, 270, 300))
    assert np.array_equal(found, pixels)
    assert valid.all()


def test_red_green_blue_and_near_infrared_are_marked_as_such(tmp_path: Path) -> None:
    path = source(tmp_path / "a.tif", measured(4, "uint8"), ["red", "green", "blue", "NIR"])
    dataset = build(tmp_path, path)
    assert dataset.band_names == ("red", "green", "blue", "nir")
    with rasterio.open(dataset.path(dataset.scenes[0])) as file:
        assert [c.name for c in file.colorinterp][:3] == ["red", "green", "blue"]
        assert file.colorinterp[3] in (ColorInterp.nir, ColorInterp.undefined)
    assert [path.name for path in (dataset.folder / "scenes").iterdir()] == ["a.tif"]


def test_bands_are_chosen_by_number_or_name(tmp_path: Path) -> None:
    pixels = measured(4, "uint16")
    path = source(tmp_path / "a.tif", pixels, ["B02", "B03", "B04", "B08"])
    dataset = build(tmp_path, path, bands=("nir", 3))
    assert dataset.band_names == ("nir", "red")
    assert np.array_equal(stored(dataset), pixels[[3, 2]])


def test_scenes_of_another_order_are_reordered_by_name(tmp_path: Path) -> None:
    pixels = measured(3, "uint16")
    one = source(tmp_path / "a.tif", pixels, ["red", "nir", "swir1"])
    other = source(tmp_path / "b.tif", pixels[[2, 0, 1]], ["SWIR 1", "R", "B08"])
    dataset = build(tmp_path, one, other)
    for scene in dataset.scenes:
        with rasterio.open(dataset.path(scene)) as file:
            assert np.array_equal(file.read(), pixels)
    assert dataset.band_names == ("red", "nir", "swir1")


def test_names_that_only_some_scenes_have_are_unknown(tmp_path: Path) -> None:
    one = source(tmp_path / "a.tif", measured(2, "uint16"), ["red", "nir"])
    other = source(tmp_path / "b.tif", measured(2, "uint16"), ["Band 1", "nir"])
    assert build(tmp_path, one, other).band_names == ("", "nir")


@pytest.mark.parametrize(
    ("pixels", "names", "words"),
    [
        (measured(3, "uint16"), ["red", "nir", "swir1"], r"has 3 bands \(red, nir, swir1\), but"),
        (
            measured(2, "uint16"),
            ["red", "green"],
            r"has 2 bands \(red, green\), but .*\(red, nir\)",
        ),
        (measured(2, "int16"), ["red", "nir"], "its pixels are int16"),
    ],
)
def test_scenes_of_other_bands_are_named(
    tmp_path: Path, pixels: NDArray[Any], names: list[str], words: str
) -> None:
    for name in ("a", "b"):
        source(tmp_path / f"{name}.tif", measured(2, "uint16"), ["red", "nir"])
    odd = source(tmp_path / "odd.tif", pixels, names)
    with pytest.raises(SceneError, match=words) as caught:
        build(tmp_path, tmp_path / "a.tif", tmp_path / "b.tif", odd)
    assert str(caught.value).startswith(str(odd))
    assert not (tmp_path / "dataset").exists()


def test_types_that_no_dataset_has_are_refused(tmp_path: Path) -> None:
    path = source(tmp_path / "a.tif", measured(1, "float32").astype(np.float64))
    with pytest.raises(SceneError, match=r"is float64, need uint8.*-ot Float32"):
        build(tmp_path, path)


@pytest.mark.parametrize("dtype", DTYPES)
def test_statistics_are_those_of_the_valid_pixels_of_train(tmp_path: Path, dtype: str) -> None:
    for number, name in enumerate(("a", "b", "c")):
        pixels = measured(2, dtype, seed=number)
        pixels[:, :20, : 90 * number] = 0
        source(tmp_path / f"{name}.tif", pixels, nodata=0)
    (tmp_path / "splits.csv").write_text("scene,split\na,train\nb,train\nc,val\n")
    scenes = [tmp_path / f"{name}.tif" for name in "abc"]
    dataset = build(tmp_path, *scenes, split_list=tmp_path / "splits.csv", block=None)
    values = []
    for path in scenes[:2]:
        with open_scene(path) as scene:
            pixels, valid = scene.read(Window(0, 0, 270, 300))
        values.append(pixels[:, valid].astype(np.float64))
    for band, of in zip(dataset.statistics, np.concatenate(values, axis=1), strict=True):
        low, high = np.percentile(of, [2, 98])
        close = 1e-3 if dtype == "float32" else 1e-12
        assert (band.minimum, band.maximum) == (of.min(), of.max())
        assert np.allclose([band.p2, band.p98], [low, high], rtol=close, atol=1e-9)
        assert np.allclose([band.mean, band.std], [of.mean(), of.std()], rtol=1e-9)


def test_statistics_do_not_depend_on_order_jobs_or_reuse(tmp_path: Path) -> None:
    scenes = [source(tmp_path / f"{n}.tif", measured(2, "float32", seed=n)) for n in range(3)]
    first = build(tmp_path, *scenes).statistics
    assert build(tmp_path, *scenes).statistics == first  # from the journal
    run = BatchOptions(jobs=3, overwrite=True, restart=True)
    annotations = tmp_path / "roofs.gpkg"
    options = PrepareOptions(**WHOLE)
    output = tmp_path / "dataset"
    prepare_scenes(scenes[::-1], output, annotations=annotations, options=options, run=run)
    assert Dataset.open(tmp_path / "dataset").statistics == first


def test_other_bands_of_the_same_scene_are_written_anew(tmp_path: Path) -> None:
    pixels = measured(3, "uint16")
    path = source(tmp_path / "a.tif", pixels, ["red", "nir", "swir1"])
    build(tmp_path, path)
    chosen = build(tmp_path, path, bands=(3, 2, 1))
    assert np.array_equal(stored(chosen), pixels[::-1])
    assert chosen.band_names == ("swir1", "nir", "red")


def test_invalid_pixels_stay_invalid_in_every_type(tmp_path: Path) -> None:
    pixels = measured(2, "float32")
    pixels[:, 30:50, 60:90] = np.nan
    dataset = build(tmp_path, source(tmp_path / "a.tif", pixels))
    with dataset.open_scene(dataset.scenes[0]) as scene:
        _, valid = scene.read(Window(0, 0, 270, 300))
    assert np.array_equal(valid, ~np.isnan(pixels[0]))
    assert sum(dataset.layers["outlines"].pixels.values()) == valid.sum()


def test_a_palette_and_a_virtual_raster_become_their_colours(tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    index = picture(300, 270, bands=1)
    write_scene(path, index, **UTM)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {n: (n, 255 - n, 7, 255) for n in range(256)})
    expected = np.stack([index[0], 255 - index[0], np.full_like(index[0], 7)])
    assert np.array_equal(stored(build(tmp_path, path)), expected)
    copy(path, tmp_path / "v.vrt", driver="VRT")
    with pytest.raises(SceneError, match="--allow-vrt"):
        build(tmp_path, tmp_path / "v.vrt")
    dataset = build(tmp_path, tmp_path / "v.vrt", allow_vrt=True)
    assert np.array_equal(stored(dataset), expected)


def test_a_virtual_raster_is_written_anew_when_a_part_changes(tmp_path: Path) -> None:
    part = source(tmp_path / "part.tif", measured(1, "uint8"))
    copy(part, tmp_path / "v.vrt", driver="VRT")
    build(tmp_path, tmp_path / "v.vrt", allow_vrt=True)
    source(part, measured(1, "uint8", seed=9))
    dataset = build(tmp_path, tmp_path / "v.vrt", allow_vrt=True)
    assert np.array_equal(stored(dataset), measured(1, "uint8", seed=9))


def test_datasets_of_other_bands_or_types_do_not_merge(tmp_path: Path) -> None:
    folders = []
    for name, pixels in (
        ("grey16", measured(1, "uint16")),
        ("two", measured(2, "uint16")),
        ("bytes", measured(1, "uint8")),
    ):
        (tmp_path / name).mkdir()
        build(tmp_path / name, source(tmp_path / name / f"{name}.tif", pixels))
        folders.append(tmp_path / name / "dataset")
    for other, words in ((1, "bands"), (2, "its pixels are")):
        with pytest.raises(SceneError, match=words):
            prepare([folders[0], folders[other]], tmp_path / "both")
    prepare(folders[1], tmp_path / "copy", options=PrepareOptions(bands=(2,)))
    assert Dataset.open(tmp_path / "copy").bands == 1


def test_a_dataset_of_an_earlier_version_merges_with_a_new_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        build(tmp_path / name, source(tmp_path / name / f"{name}.tif", measured(3, "uint8")))
    description = tmp_path / "old" / "dataset" / "dataset.json"
    data = json.loads(description.read_text(encoding="utf-8"))
    del data["band_names"], data["statistics"]
    description.write_text(json.dumps(data), encoding="utf-8")
    prepare([tmp_path / "old/dataset", tmp_path / "new/dataset"], tmp_path / "both")
    merged = Dataset.open(tmp_path / "both")
    assert merged.band_names == ("red", "green", "blue")
    assert isinstance(merged.statistics[2], BandStatistics)


@pytest.mark.parametrize(
    ("file", "bands", "dtype"),
    [("sentinel2_8band_uint16.tif", 8, "uint16"), ("worldview_uint16.tif", 1, "uint16")],
)
def test_real_scenes_of_many_bits_become_datasets(
    tmp_path: Path, real_data: Path, file: str, bands: int, dtype: str
) -> None:
    path = real_data / "scenes" / file
    with rasterio.open(path) as scene:
        pixels, left, top = scene.read(), scene.bounds.left, scene.bounds.top
        boxes = [shapely.box(left + x, top - 200, left + x + 100, top - 50) for x in (40, 300)]
        table = gpd.GeoDataFrame({"class": ["field"] * 2}, geometry=boxes, crs=scene.crs)
        valid = scene.dataset_mask() != 0
    table.to_file(tmp_path / "fields.gpkg", driver="GPKG")
    options = PrepareOptions(block=2000, val_share=0)
    annotations = tmp_path / "fields.gpkg"
    prepare_scenes([path], tmp_path / "dataset", annotations=annotations, options=options)
    dataset = Dataset.open(tmp_path / "dataset")
    assert (dataset.bands, dataset.dtype) == (bands, dtype)
    assert np.array_equal(stored(dataset), pixels)
    for band, values in zip(dataset.statistics, pixels[:, valid], strict=True):
        assert np.allclose([band.p2, band.p98], np.percentile(values, [2, 98]), rtol=1e-12)


def test_an_unknown_band_is_one_line_that_lists_the_bands(tmp_path: Path) -> None:
    path = source(tmp_path / "a.tif", measured(2, "uint16"), ["red", "nir"])
    with pytest.raises(GeosegError, match="no band 'blue'; its bands are 1 red, 2 nir") as caught:
        build(tmp_path, path, bands=("blue",))
    assert "\n" not in str(caught.value)


def test_names_that_the_user_gives_are_stored_in_the_dataset_and_its_files(tmp_path: Path) -> None:
    path = source(tmp_path / "a.tif", measured(3, "uint16"), ["Band 1", "Band 2", "Band 3"])
    dataset = build(tmp_path, path, bands=("red=2", "nir=3"))
    assert dataset.band_names == ("red", "nir")
    prepare(dataset.folder, tmp_path / "copy")
    assert Dataset.open(tmp_path / "copy").band_names == ("red", "nir")
