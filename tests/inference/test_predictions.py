"""Labels do not depend on tiles, batches or workers."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor, nn

from geoseg.errors import ConfigError
from geoseg.inference.predictor import (
    FULL_CONFIDENCE,
    ModelSpec,
    create_predictor,
    normalized_entropy,
)
from geoseg.inference.reader import SceneSpec, open_scenes
from geoseg.inference.run import WorkerTask, predict_by_executor, predict_locally
from geoseg.inference.tiling import choose_tiles, resolve_margin
from geoseg.legend import IGNORE
from geoseg.models.model_file import Model, load_model
from geoseg.raster.aoi import AreaOfInterest
from geoseg.raster.tiles import Tile, round_up
from tests.scenes import (
    UTM,
    card,
    model_file,
    objects_model,
    picture,
    tiny_model,
    write_scene,
)

MODEL = tiny_model()
EXACT = resolve_margin("exact", MODEL)


def predict(
    path: Path,
    model: Model = MODEL,
    *,
    batch_size: int = 1,
    executor: Executor | None = None,
    order: Callable[[list[Tile]], list[Tile]] = list,
    more: Mapping[str, Any] = MappingProxyType({}),
    tta: bool = False,
    **cut: Any,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int]:
    scene = SceneSpec((path,), bands=model.card.bands, dtype=model.card.dtype, **more)
    spec = ModelSpec(model.path, tta=tta)
    with open_scenes([path]) as scenes:
        reader = scenes.reader(scene)
        planes = np.full((2, reader.info.height, reader.info.width), IGNORE, np.uint8)
        tiles = order(choose_tiles(reader.width, reader.height, model, **cut))
        count = 0
        with (
            predict_locally(reader, create_predictor(spec, model), tiles, batch_size=batch_size)
            if executor is None
            else nullcontext(
                predict_by_executor(
                    executor, WorkerTask(scene, spec, ""), tiles, batch_size=batch_size
                )
            )
        ) as predictions:
            for prediction in predictions:
                if prediction is not None:
                    planes[:, *prediction.window.toslices()] = prediction.planes
                    count += 1
    return planes[0], planes[1], count


def forward(pixels: NDArray[np.uint8], valid: NDArray[np.bool_], model: Model = MODEL) -> Tensor:
    """Logits (outputs, h, w) of one forward pass over the whole scene, as a plain reference."""
    card = model.card
    scaled = (pixels - np.reshape(card.mean, (-1, 1, 1))) / np.reshape(card.std, (-1, 1, 1))
    scaled[:, ~valid] = 0
    height, width = valid.shape
    padded = np.zeros((card.bands, round_up(height, card.stride), round_up(width, card.stride)))
    padded[:, :height, :width] = scaled
    with torch.inference_mode():
        logits: Tensor = model.network(torch.from_numpy(padded).float()[None])
    return logits[0, :, :height, :width]


def check(
    labels: NDArray[np.uint8], confidence: NDArray[np.uint8], logits: Tensor, valid: Any
) -> None:
    best, second = logits.topk(2, dim=0).values
    clear = (best - second > 1e-4).numpy() & valid
    assert np.array_equal(labels[clear], logits.argmax(dim=0).numpy()[clear])
    assert (labels[~valid] == IGNORE).all()
    assert (confidence[~valid] == IGNORE).all()
    expected = logits.softmax(dim=0).amax(dim=0).numpy() * FULL_CONFIDENCE
    assert np.abs(confidence[valid] - expected[valid]).max(initial=0) <= 0.51


@settings(max_examples=25)
@given(
    height=st.integers(1, 100), width=st.integers(1, 100), core=st.integers(1, 90),
    batch_size=st.integers(1, 5), hole=st.tuples(*[st.integers(0, 100)] * 4), seed=st.integers(0, 9),
    order=st.randoms(),
)  # fmt: skip
def test_tiled_labels_are_those_of_one_forward_pass_over_the_whole_scene(
    tmp_path_factory: pytest.TempPathFactory,
    height: int, width: int, core: int, batch_size: int, hole: tuple[int, ...], seed: int,
    order: random.Random,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("exact")
    pixels = picture(height, width, seed=seed)
    top, bottom, left, right = *sorted(hole[:2]), *sorted(hole[2:])
    pixels[:, top:bottom, left:right] = 0
    path = write_scene(folder / "scene.tif", pixels, nodata=0, **UTM)
    valid = pixels.max(axis=0) > 0
    core = max(core, round((height * width) ** 0.5) // 4)  # at most a few dozen tiles
    labels, confidence, _ = predict(
        path, core=core, margin=EXACT, batch_size=batch_size,
        order=lambda tiles: order.sample(tiles, len(tiles)),
    )  # fmt: skip
    check(labels, confidence, forward(pixels, valid), valid)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_workers_predict_the_same_labels(
    tmp_path: Path, kind: type[Executor], workers: int
) -> None:
    pixels = picture(90, 110)
    pixels[:, 20:50, 30:90] = 0
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=0, **UTM)
    model = load_model(model_file(tmp_path / "tiny.safetensors"))
    alone = predict(path, model, core=32, margin=EXACT)
    spawned = {} if kind is ThreadPoolExecutor else {"mp_context": get_context("spawn")}
    with kind(workers, **spawned) as executor:  # type: ignore[call-arg]
        together = predict(path, model, core=32, margin=EXACT, batch_size=2, executor=executor)
    assert alone[2] == together[2]
    valid = pixels.max(axis=0) > 0
    check(together[0], together[1], forward(pixels, valid), valid)
    assert (alone[0] == together[0]).mean() > 0.999  # batches of 2 round differently


def test_labels_of_a_resampled_scene_are_on_its_own_grid(tmp_path: Path) -> None:
    pixels = picture(150, 130)
    pixels[:, 100:, 60:] = 0
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=0, **UTM)
    valid = pixels.max(axis=0) > 0
    more = {"scale": (130 / 52, 150 / 50)}
    labels, confidence, _ = predict(path, core=16, margin=EXACT, more=more)
    whole, confidence_everywhere, _ = predict(path, core=64, margin=EXACT, more=more)
    assert np.array_equal(labels, whole)
    assert np.abs(confidence.astype(int) - confidence_everywhere).max() <= 1
    assert np.array_equal(labels == IGNORE, ~valid)
    # a network pixel covers three rows of the scene
    assert np.array_equal(labels[0:99:3], labels[2:99:3])
    assert len(np.unique(labels)) > 2


def test_labels_inside_an_area_do_not_depend_on_the_area(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", picture(120, 120), **UTM)
    area = AreaOfInterest(shapely.Point(40, 50).buffer(23))
    everywhere, confidence_everywhere, count = predict(path, core=16, margin=EXACT)
    labels, confidence, fewer = predict(path, core=16, margin=EXACT, more={"area": area})
    inside = area.rasterize(Window(0, 0, 120, 120))
    assert np.array_equal(labels[inside], everywhere[inside])
    assert np.array_equal(confidence[inside], confidence_everywhere[inside])
    assert (labels[~inside] == IGNORE).all()
    assert fewer < count / 2


def test_rotating_a_scene_rotates_its_augmented_confidence(tmp_path: Path) -> None:
    pixels = picture(64, 64)
    path = write_scene(tmp_path / "scene.tif", pixels, **UTM)
    _, confidence, _ = predict(path, margin=EXACT, tta=True)
    rotated = write_scene(tmp_path / "rotated.tif", np.rot90(pixels, axes=(1, 2)).copy(), **UTM)
    _, other, _ = predict(rotated, margin=EXACT, tta=True)
    assert np.abs(np.rot90(confidence).astype(int) - other).max() <= 1
    _, plain, _ = predict(path, margin=EXACT)
    assert not np.array_equal(plain, confidence)


def test_probabilities_are_the_softmax(tmp_path: Path) -> None:
    pixels = picture(40, 56)
    path = write_scene(tmp_path / "scene.tif", pixels, **UTM)
    planes = predict_planes(path, MODEL, probabilities=True)
    expected = forward(pixels, np.ones((40, 56), bool)).softmax(dim=0).numpy() * FULL_CONFIDENCE
    assert planes.shape == (2 + len(MODEL.card.legend), 40, 56)
    assert np.abs(planes[2:] - expected).max() <= 0.51


def entropy_of(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalised entropy of (classes, h, w), in float64."""
    logarithms = np.log(np.maximum(probabilities, 1e-300))
    total: NDArray[np.float64] = -(probabilities * logarithms).sum(axis=0) / np.log(
        len(probabilities)
    )
    return total


def test_the_uncertainty_is_the_normalised_entropy(tmp_path: Path) -> None:
    pixels = picture(40, 56)
    path = write_scene(tmp_path / "scene.tif", pixels, **UTM)
    planes = predict_planes(path, MODEL, uncertainty=True, probabilities=True)
    softmax = forward(pixels, np.ones((40, 56), bool)).double().softmax(dim=0).numpy()
    assert planes.shape == (3 + len(MODEL.card.legend), 40, 56)
    assert np.abs(planes[2] - FULL_CONFIDENCE * entropy_of(softmax)).max() <= 0.51
    without = predict_planes(path, MODEL, probabilities=True)
    assert np.array_equal(np.delete(planes, 2, axis=0), without)


def test_the_entropy_is_0_for_a_certain_class_and_1_for_equal_ones() -> None:
    certain, equal = torch.eye(5), torch.full((2, 3, 7), 1 / 7)
    assert torch.equal(normalized_entropy(certain), torch.zeros(5))
    assert torch.allclose(normalized_entropy(equal), torch.ones(2, 3))


def predict_planes(path: Path, model: Model, **spec: Any) -> NDArray[np.uint8]:
    with open_scenes([path]) as scenes:
        reader = scenes.reader(SceneSpec((path,), bands=3, dtype="uint8"))
        tiles = choose_tiles(reader.width, reader.height, model)
        predictor = create_predictor(ModelSpec(**spec), model)
        with predict_locally(reader, predictor, tiles) as predictions:
            (prediction,) = predictions
    assert prediction is not None
    return prediction.planes


def test_the_interior_is_the_first_object_output(tmp_path: Path) -> None:
    pixels = picture(40, 56)
    path = write_scene(tmp_path / "scene.tif", pixels, **UTM)
    model, classes = objects_model(), len(MODEL.card.legend)
    planes = predict_planes(path, model, objects=True, probabilities=True)
    logits = forward(pixels, np.ones((40, 56), bool), model).numpy().astype(float)
    interior = 1 / (1 + np.exp(-logits[classes]))
    assert planes.shape == (3 + classes, 40, 56)
    assert np.abs(planes[2] - FULL_CONFIDENCE * interior).max() <= 0.51
    without = predict_planes(path, model, probabilities=True)
    assert np.array_equal(np.delete(planes, 2, axis=0), without)
    assert planes[0].max() < classes


def test_augmentation_averages_the_probabilities_of_object_outputs(tmp_path: Path) -> None:
    pixels = picture(64, 64)
    path = write_scene(tmp_path / "scene.tif", pixels, **UTM)
    model, classes = objects_model(), len(MODEL.card.legend)
    planes = predict_planes(path, model, objects=True, tta=True, uncertainty=True)
    everywhere = np.ones((64, 64), bool)
    mean = np.zeros((classes + 2, 64, 64))
    for turns in range(4):
        for flip in (False, True):
            rotated = np.rot90(pixels, turns, axes=(1, 2))
            rotated = rotated[:, :, ::-1] if flip else rotated
            logits = forward(rotated.copy(), everywhere, model)
            found = torch.cat([logits[:classes].softmax(dim=0), logits[classes:].sigmoid()]).numpy()
            found = found[:, :, ::-1] if flip else found
            mean += np.rot90(found, -turns, axes=(1, 2)) / 8
    assert np.abs(planes[1] - FULL_CONFIDENCE * mean[:classes].max(axis=0)).max() <= 0.52
    assert np.abs(planes[2] - FULL_CONFIDENCE * mean[-2]).max() <= 0.52
    assert np.abs(planes[3] - FULL_CONFIDENCE * entropy_of(mean[:classes])).max() <= 0.52


def test_a_model_without_object_outputs_predicts_no_interior() -> None:
    with pytest.raises(ValueError, match="no object outputs"):
        create_predictor(ModelSpec(objects=True), MODEL)


def test_the_comparison_detects_too_small_a_margin(tmp_path: Path) -> None:
    pixels = picture(100, 100)
    path = write_scene(tmp_path / "scene.tif", pixels, **UTM)
    valid = np.ones((100, 100), bool)
    labels, confidence, _ = predict(path, core=32, margin=0)
    with pytest.raises(AssertionError):
        check(labels, confidence, forward(pixels, valid), valid)


def test_tiles_without_data_are_not_predicted(tmp_path: Path) -> None:
    pixels = picture(96, 96)
    pixels[:, :64] = 0
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=0, **UTM)
    labels, _, count = predict(path, core=32, margin=32)
    assert count == 3
    assert (labels[:64] == IGNORE).all()
    assert (labels[64:] != IGNORE).all()


def test_a_scene_without_data_needs_no_forward_pass(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.zeros((3, 70, 70), np.uint8), nodata=0, **UTM)
    labels, confidence, count = predict(path, core=32)
    assert count == 0
    assert (labels == IGNORE).all()
    assert (confidence == IGNORE).all()


class _TooLarge(nn.Module):
    def forward(self, _image: Tensor) -> Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")


class _Buggy(nn.Module):
    def forward(self, _image: Tensor) -> Tensor:
        raise RuntimeError("shapes cannot be multiplied")


def test_out_of_memory_names_the_options_to_lower(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", picture(40, 40), **UTM)
    model = Model(Path("m"), card(), _TooLarge(), "0")
    with pytest.raises(
        ConfigError, match=r"1 x 40 x 40 pixels per forward pass.*--core or --batch-size"
    ):
        predict(path, model=model)
    with pytest.raises(RuntimeError, match="multiplied"):
        predict(path, model=Model(Path("m"), card(), _Buggy(), "0"))
