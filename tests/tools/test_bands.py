"""Training, inference and pictures of scenes of any bands and data types, from annotations to polygons."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes

from geoseg.dataset.folder import Dataset
from geoseg.errors import DatasetError, SceneError
from geoseg.legend import BACKGROUND, IGNORE
from geoseg.models.model_file import load_model
from geoseg.models.onnx import read_onnx_card
from geoseg.training.config import TrainConfig, parse_config
from geoseg.training.loading import Scaling
from geoseg.training.sampler import build_sampler
from geoseg.training.windows import open_split
from tests.calls import evaluate, export, prepare_scenes, preview, segment, train
from tests.scenes import UTM, write_scene

SIZE = 96
KINDS = [("uint16", ("",)), ("int16", ("blue", "green", "red", "nir")), ("float32", ("",) * 8)]


def values_of(dtype: str, bands: int) -> NDArray[np.float64]:
    """(2, bands) values of the ground and of an object in each band."""
    ground = 100.0 * np.arange(1, bands + 1)
    values = np.stack([ground, 5 * ground]) * {"uint8": 0.05, "float32": 1e-4}.get(dtype, 1.0)
    return values - 2000 if dtype == "int16" else values


def draw_scene(path: Path, dtype: str, names: Sequence[str], seed: int = 0) -> gpd.GeoDataFrame:
    """Write a scene with objects that are plain rectangles, and return these."""
    rng = np.random.default_rng(seed)
    ground, inside = values_of(dtype, len(names))
    pixels = np.tile(ground[:, None, None], (1, SIZE, SIZE))
    boxes = []
    for left, top in ((8, 8), (60, 10), (12, 58), (56, 60)):
        width, height = rng.integers(14, 28, 2).tolist()
        pixels[:, top : top + height, left : left + width] = inside[:, None, None]
        corners = [UTM["transform"] @ (left, top), UTM["transform"] @ (left + width, top + height)]
        (x0, y0), (x1, y1) = corners
        boxes.append(shapely.box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    write_scene(path, pixels.astype(dtype), **UTM)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = tuple(name or None for name in names)
    return gpd.GeoDataFrame({"class": ["shed"] * len(boxes)}, geometry=boxes, crs=UTM["crs"])


def build(folder: Path, dtype: str, names: Sequence[str]) -> tuple[Path, Path]:
    """Return a scene and a dataset of it, with two blocks for train and two for val."""
    scene, annotations = folder / "scene.tif", folder / "objects.gpkg"
    draw_scene(scene, dtype, names).to_file(annotations)
    made = prepare_scenes(
        scene, folder / "dataset", annotations=annotations, block=48, val_share=0.5
    )
    return scene, made


def configure(dataset: Path, *, steps: int = 8, **augment: Any) -> TrainConfig:
    tables = {
        "data": {"dataset": str(dataset), "window": 32, "balanced": 1.0},
        "network": {"architecture": "unet", "parameters": {"width": 4, "depth": 2}},
        "training": {
            **{"steps": steps, "batch_size": 4, "validate_every": steps, "warmup": 0, "ema": 0.5},
            "learning_rate": 0.02,
        },
        "augment": augment,
    }
    return parse_config(tables, "test")


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return the colours of a picture."""
    with rasterio.open(path) as picture:
        return np.moveaxis(picture.read(), 0, 2)


@pytest.mark.parametrize(("dtype", "names"), [("uint8", ("",)), ("uint8", ("",) * 5), *KINDS])
def test_windows_hold_the_values_of_their_labels_in_every_band(
    tmp_path: Path, dtype: str, names: tuple[str, ...]
) -> None:
    dataset = Dataset.open(build(tmp_path, dtype, names)[1])
    still: dict[str, Any] = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    config = configure(dataset.folder, copy_paste=1.0, scale=[0.8, 1.5], rotate=1.0, **still)
    sampler = build_sampler(config, open_split(config.data, dataset, "train"))
    expected = values_of(dtype, len(names))
    span = float(np.abs(expected[1] - expected[0]).max())
    seen = 0
    for n in range(12):
        sample = sampler(n)
        assert sample.pixels.dtype == dtype
        assert sample.pixels.shape == (32, 32, len(names))
        for class_id in (BACKGROUND, 1):
            region = (sample.labels == class_id).astype(np.uint8)
            inner = cv2.erode(region, np.ones((9, 9), np.uint8), borderValue=0) > 0
            error = np.abs(sample.pixels[inner].astype(float) - expected[class_id])
            seen += int(inner.sum()) if class_id == 1 else 0
            assert error.size == 0 or error.max() <= 1e-5 * span + (dtype != "float32")
        assert not sample.pixels[~sample.valid].any()
        assert (sample.labels[~sample.valid] == IGNORE).all()
    assert seen > 100


@pytest.mark.parametrize(("dtype", "names"), KINDS)
def test_the_2nd_and_98th_percentile_become_minus_one_and_one(
    tmp_path: Path, dtype: str, names: tuple[str, ...]
) -> None:
    dataset = Dataset.open(build(tmp_path, dtype, names)[1])
    scaling = Scaling.of_statistics(dataset.statistics)
    for mean, std, band in zip(scaling.mean, scaling.std, dataset.statistics, strict=True):
        assert (band.p2 - mean) / std == pytest.approx(-1)
        assert (band.p98 - mean) / std == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "names"), KINDS)
def test_from_annotations_to_polygons(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dtype: str, names: tuple[str, ...]
) -> None:
    scene, folder = build(tmp_path, dtype, names)
    dataset = Dataset.open(folder)
    config = configure(folder, steps=40)
    model = train(config, tmp_path / "model.safetensors", device="cpu").model
    card = load_model(model).card
    assert (card.bands, card.dtype, card.band_names) == (len(names), dtype, names)
    assert card.statistics == dataset.statistics
    assert [band.p2 for band in card.statistics] == pytest.approx(
        [mean - std for mean, std in zip(card.mean, card.std, strict=True)]
    )
    with caplog.at_level(logging.WARNING):
        segment(scene, tmp_path / "a.gpkg", model=model, labels=tmp_path / "a.tif")
        (evaluation,) = evaluate(folder, model=model)
    assert "most values" not in caplog.text
    assert evaluation.scores.mean_iou() > 0.5
    with rasterio.open(tmp_path / "a.tif") as labels:
        expected = labels.read(1)
    onnx = export(
        tmp_path / "model.onnx", model=model, size=96, stac=tmp_path / "model.json", objects=False
    )
    assert read_onnx_card(onnx).band_names == names
    segment(scene, tmp_path / "b.gpkg", model=onnx, labels=tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as labels:
        assert (labels.read(1) == expected).mean() > 0.99
    preview(config, tmp_path / "preview.png", windows=4)
    assert read_picture(tmp_path / "preview.png").std() > 20
    bands = json.loads((tmp_path / "model.json").read_text())["assets"]["model"]["bands"]
    assert [band["data_type"] for band in bands] == [dtype] * len(names)


def test_a_model_finds_its_bands_by_name_wherever_they_are(tmp_path: Path) -> None:
    names = ("blue", "green", "red", "nir")
    scene, folder = build(tmp_path, "int16", names)
    model = train(configure(folder, steps=2), tmp_path / "model.safetensors", device="cpu").model

    def predict(path: Path, **options: Any) -> NDArray[np.uint8]:
        labels = tmp_path / "labels.tif"
        segment(path, tmp_path / "o.gpkg", model=model, labels=labels, overwrite=True, **options)
        with rasterio.open(labels) as opened:
            found: NDArray[np.uint8] = opened.read(1)
        return found

    expected = predict(scene)
    with rasterio.open(scene) as opened:
        pixels = opened.read()
    other = write_scene(tmp_path / "other.tif", pixels[[3, 3, 2, 0, 1]], **UTM)
    with rasterio.open(other, "r+") as opened:
        opened.descriptions = ("Near Infrared", "swir1", "R", "B", "G")
    assert (predict(other) == expected).all()
    assert (predict(other, bands=("blue", "green", "red", "nir")) == expected).all()
    assert (predict(other, bands=(4, 5, 3, 1)) == expected).all()
    few = write_scene(tmp_path / "few.tif", pixels[:2], **UTM)
    with pytest.raises(
        SceneError, match=r"has 2 bands, the model needs 4 \(blue, green, red, nir\)"
    ):
        predict(few)
    bright = write_scene(tmp_path / "bright.tif", pixels.astype(np.float32), **UTM)
    with pytest.raises(SceneError, match=r"float32, the model was trained on int16.*-ot Int16"):
        predict(bright)
    (tmp_path / "eight").mkdir()
    _, eight = build(tmp_path / "eight", "uint8", ("red",))
    with pytest.raises(
        DatasetError,
        match=r"1 band of uint8 \(red\), model.safetensors needs 4 bands of int16 \(blue, green",
    ):
        evaluate(eight, model=model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sentinel2_8band_uint16", "worldview_uint16"])
def test_real_scenes_of_many_bits_train_and_segment(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    scene = real_data / "scenes" / f"{name}.tif"
    with rasterio.open(scene) as opened:
        pixels = opened.read(out_dtype="float64")
        transform, crs = opened.transform, opened.crs
    if len(pixels) == 8:  # of which the first and the fourth are red and near infrared
        feature = (pixels[3] - pixels[0]) / (pixels[3] + pixels[0] + 1)
    else:
        feature = cv2.GaussianBlur(pixels[0], (0, 0), 2)
    found = (feature > np.percentile(feature, 75)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    outlines = [shapely.geometry.shape(g) for g, _ in shapes(found, found, transform=transform)]
    table = gpd.GeoDataFrame({"class": ["high"] * len(outlines)}, geometry=outlines, crs=crs)
    table.to_file(tmp_path / "high.gpkg")
    folder = prepare_scenes(scene, tmp_path / "dataset", annotations=tmp_path / "high.gpkg")
    config = configure(folder, steps=40)
    model = train(config, tmp_path / "model.safetensors", device="cpu").model
    picture, labels = tmp_path / "picture.png", tmp_path / "labels.tif"
    segment(scene, tmp_path / "o.gpkg", model=model, picture=picture, labels=labels)
    with rasterio.open(labels) as opened:
        predicted = opened.read(1)
    known = predicted != IGNORE
    both = ((predicted == 1) & (found == 1) & known).sum()
    assert both / ((predicted == 1) | (found == 1))[known].sum() > 0.4
    (evaluation,) = evaluate(folder, model=model, report=tmp_path / "report.html")
    assert evaluation.scores.mean_iou() > 0.3
    assert preview(config, tmp_path / "preview.png", windows=4).is_file()
    shown = read_picture(picture)[:300, :300]
    assert shown.mean() > 30
    assert shown.std() > 20


def test_a_picture_of_a_virtual_raster_is_drawn(tmp_path: Path) -> None:
    scene, folder = build(tmp_path, "uint16", ("",))
    model = train(configure(folder, steps=1), tmp_path / "model.safetensors", device="cpu").model
    virtual = tmp_path / "scene.vrt"
    rasterio.shutil.copy(scene, virtual, driver="VRT")
    drawn = []
    for path in (scene, virtual):
        picture = path.with_suffix(f".{path.suffix[1:]}.png")
        segment(
            path, tmp_path / "o.gpkg", model=model, picture=picture, allow_vrt=True, overwrite=True
        )
        drawn.append(read_picture(picture)[:, :300])
    assert (drawn[0] == drawn[1]).all()
