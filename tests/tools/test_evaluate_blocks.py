"""Evaluation of blocks of a scene: labels and objects are those of the whole scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from geoseg.dataset.folder import Dataset, group_by_file
from geoseg.metrics.evaluation import Evaluation
from geoseg.models.model_file import load_model
from geoseg.options import PolygonOptions, ScoringOptions
from geoseg.training.loading import Scaling
from geoseg.training.validation import EvenWindows, score_network
from geoseg.training.windows import SplitReader
from tests.calls import evaluate, prepare_scenes, segment
from tests.exact_network import exact_model_file
from tests.scenes import picture, write_scene

PLACE = {"crs": "EPSG:32631", "transform": from_origin(500_000, 5_000_000, 0.5, 0.5)}


MERGED = ScoringOptions(cleaning=PolygonOptions(split="none"))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A scene, a model, and the connected regions of the labels that it predicts on the whole scene."""
    folder = tmp_path_factory.mktemp("own")
    scene = write_scene(folder / "scene.tif", picture(150, 190, seed=3), **PLACE)
    model = exact_model_file(folder / "model.safetensors")
    segment(scene, folder / "own.gpkg", model=model, margin="exact", split="none")
    return scene, model, folder / "own.gpkg"


@pytest.fixture(scope="module")
def own_objects(own: tuple[Path, Path, Path]) -> tuple[Path, Path, Path]:
    """The same with the objects that the model separates."""
    scene, model, regions = own
    objects = regions.with_name("objects.gpkg")
    segment(scene, objects, model=model, margin="exact")
    return scene, model, objects


def prepare_blocks(own: tuple[Path, Path, Path], output: Path, **options: object) -> Path:
    scene, model, polygons = own
    return prepare_scenes(
        scene, output, annotations=polygons, legend=str(model), **options
    )  # fmt: skip


def assert_perfect_labels(evaluation: Evaluation) -> None:
    matrix = evaluation.scores.matrix
    assert matrix.sum() == np.trace(matrix) > 0
    assert evaluation.to_json()["miou"] == 1


def assert_perfect_objects(evaluation: Evaluation) -> None:
    reference, predicted, matched = evaluation.objects.counts.sum(axis=(0, 2, 3))
    assert reference == predicted == matched > 0


@pytest.mark.parametrize("block", [64, 100])
def test_the_own_labels_of_a_model_are_perfect_on_blocks(
    own: tuple[Path, Path, Path],
    own_objects: tuple[Path, Path, Path],
    tmp_path: Path,
    block: int,
) -> None:
    check_own_labels(own, tmp_path / "regions", block, gap=3)
    check_own_objects(own_objects, tmp_path / "objects", block, gap=3)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@given(st.integers(32, 120), st.integers(0, 12))
def test_the_own_labels_of_a_model_are_perfect_for_any_block_size(
    own: tuple[Path, Path, Path],
    own_objects: tuple[Path, Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
    block: int,
    gap: int,
) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    check_own_labels(own, folder / "regions", block, gap)
    check_own_objects(own_objects, folder / "objects", block, gap)


def check_own_labels(own: tuple[Path, Path, Path], output: Path, block: int, gap: int) -> None:
    prepare_blocks(own, output, block=block, gap=gap, val_share=0.4)
    dataset = Dataset.open(output)
    assert len(group_by_file(dataset.scenes)) == 1
    for name in dataset.splits:
        (evaluation,) = evaluate(output, model=own[1], split=name, scoring=MERGED)
        assert_perfect_labels(evaluation)
        assert_perfect_objects(evaluation)
        assert evaluation.scenes == tuple(scene.name for scene in dataset.split(name))


def check_own_objects(own: tuple[Path, Path, Path], output: Path, block: int, gap: int) -> None:
    prepare_blocks(own, output, block=block, gap=gap, val_share=0.4)
    (evaluation,) = evaluate(output, model=own[1])
    assert_perfect_objects(evaluation)


def test_blocks_are_windows_of_one_file_with_the_pixels_of_the_scene(
    own: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    dataset = Dataset.open(prepare_blocks(own, tmp_path / "dataset", block=70))
    assert [path.name for path in (tmp_path / "dataset" / "scenes").iterdir()] == ["scene.tif"]
    with rasterio.open(own[0]) as scene:
        pixels, transform = scene.read(), scene.transform
    covered = np.zeros(pixels.shape[1:], int)
    for block in dataset.scenes:
        assert block.window is not None
        left, top, width, height = block.window
        assert (block.width, block.height) == (width, height)
        assert block.transform == tuple((transform @ transform.translation(left, top))[:6])
        part = np.s_[top : top + height, left : left + width]
        covered[part] += 1
        with dataset.open_scene(block) as opened:
            read, valid = opened.read(rasterio.windows.Window(0, 0, width, height))
        assert np.array_equal(read, pixels[:, *part])
        assert valid.all()
    assert (covered == 1).all()


def test_kept_labels_of_blocks_are_those_of_the_file_and_have_the_same_scores(
    own: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    output = prepare_blocks(own, tmp_path / "dataset", block=70)
    (kept,) = evaluate(output, model=own[1], keep=tmp_path / "kept")
    (again,) = evaluate(output, labels=tmp_path / "kept")
    assert np.array_equal(kept.matrices, again.matrices)
    assert np.array_equal(kept.objects.counts, again.objects.counts)
    assert (tmp_path / "kept" / "scene.tif").is_file()


@pytest.mark.parametrize("margin", [0, 32])
def test_validation_windows_see_what_surrounds_them(
    own: tuple[Path, Path, Path], tmp_path: Path, margin: int
) -> None:
    dataset = Dataset.open(prepare_blocks(own, tmp_path / "dataset", block=50))
    model = load_model(own[1])
    windows = EvenWindows(
        SplitReader(dataset, "val", layer=None, difficult="keep"),
        Scaling(model.card.mean, model.card.std),
        size=30,
        most=1000,
        device="cpu",
        margin=margin,
        stride=model.card.stride,
    )
    matrix = score_network(model.network, windows, classes=len(dataset.legend)).labels.matrix
    assert matrix.sum() == sum(scene.width * scene.height for scene in dataset.split("val"))
    assert (matrix.sum() == np.trace(matrix)) == (margin > 0)


@pytest.mark.slow
def test_the_own_labels_of_the_shipped_model_are_perfect_on_blocks_of_a_real_scene(
    real_data: Path, tmp_path: Path
) -> None:
    image = real_data / "dota" / "val" / "images" / "S0163.jpg"
    with rasterio.open(image) as opened:
        pixels = opened.read(window=rasterio.windows.Window(512, 512, 420, 420))
    scene = write_scene(tmp_path / "scene.tif", pixels, **PLACE)
    segment(scene, tmp_path / "own.gpkg", split="none", gsd="none")
    output = prepare_scenes(
        scene,
        tmp_path / "dataset",
        annotations=tmp_path / "own.gpkg",
        legend="shipped",
        block=140,
        val_share=0.3,
    )
    (evaluation,) = evaluate(output, scoring=MERGED)
    assert_perfect_labels(evaluation)
    assert_perfect_objects(evaluation)
