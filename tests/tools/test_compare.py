"""Comparison of two label rasters, and of two models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from geoseg.annotations.burn import burn
from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.legend import IGNORE
from geoseg.metrics.comparison import count_agreement
from geoseg.polygons.attributes import row_areas
from geoseg.raster.labels import legend_tags
from geoseg.report.tables import format_agreement, format_comparison
from geoseg.tools.vectorize import vectorize
from tests.calls import compare, compare_models
from tests.scenes import LEGEND, UTM, write_scene
from tests.synthetic_dataset import dataset

DEGREES: dict[str, Any] = {"crs": "EPSG:4326", "transform": Affine(1e-5, 0, 12, 0, -1e-5, 55)}


def raster(path: Path, labels: NDArray[Any], *, legend: bool = True, **place: Any) -> Path:
    write_scene(path, labels[None], nodata=IGNORE, **place)
    if legend:
        with rasterio.open(path, "r+") as written:
            written.update_tags(**legend_tags(LEGEND))
    return path


def blotches(seed: int, height: int = 700, width: int = 90) -> NDArray[np.uint8]:
    """Higher than a strip."""
    rng = np.random.default_rng(seed)
    small = rng.choice(np.array([0, 0, 1, 2, 3, IGNORE], np.uint8), (height // 10, width // 10))
    return small.repeat(10, axis=0).repeat(10, axis=1)


@settings(max_examples=30)
@given(
    *2 * [hnp.arrays(np.uint8, (9, 7), elements=st.sampled_from([0, 1, 2, 3, IGNORE]))],
    st.integers(1, 9),
)
def test_scores_equal_those_of_scikit_learn_for_any_strips(
    a: NDArray[np.uint8], b: NDArray[np.uint8], rows: int
) -> None:
    strips = [(a[row : row + rows], b[row : row + rows]) for row in range(0, len(a), rows)]
    areas = row_areas(UTM["transform"], rasterio.CRS.from_string(UTM["crs"]), 7)
    told = count_agreement(strips, LEGEND, areas).to_json()
    seen = (a != IGNORE) & (b != IGNORE)
    assert told["only_a"] == ((a != IGNORE) & (b == IGNORE)).sum()
    assert told["only_b"] == ((a == IGNORE) & (b != IGNORE)).sum()
    if not seen.any():
        assert told["agreement"] is None
        return
    np.testing.assert_array_equal(
        told["confusion"], confusion_matrix(a[seen], b[seen], labels=range(4))
    )
    assert told["agreement"] == pytest.approx(accuracy_score(a[seen], b[seen]), abs=1e-4)
    f1 = f1_score(a[seen], b[seen], labels=range(4), average=None, zero_division=np.nan)
    for item, score in zip(LEGEND, f1, strict=True):
        found = told["classes"][item.name]["f1"]
        assert (found is None) == np.isnan(score)
        assert found is None or found == pytest.approx(score, abs=1e-4)
    assert told["changed"] == sum(change["pixels"] for change in told["changes"])
    assert told["changed_m2"] == pytest.approx(told["changed"] * 0.09, rel=1e-3)


def test_areas_are_those_of_the_polygons_of_the_differences(tmp_path: Path) -> None:
    a = raster(tmp_path / "a.tif", blotches(0), **DEGREES)
    b = raster(tmp_path / "b.tif", blotches(1), **DEGREES)
    found = compare(a, b, output=tmp_path / "changed.tif", json=tmp_path / "c.json")
    told = json.loads((tmp_path / "c.json").read_text())
    assert told == {"a": "a.tif", "b": "b.tif", **found.to_json()}
    polygons = vectorize(tmp_path / "changed.tif", None)
    assert set(polygons["class"]) == {"changed"}
    assert told["changed_m2"] == pytest.approx(polygons["area_m2"].sum(), rel=1e-5)
    assert told["changed"] == polygons["pixels"].sum()


def test_differences_are_a_raster_on_the_same_grid(tmp_path: Path) -> None:
    one, other = blotches(0), blotches(1)
    a, b = raster(tmp_path / "a.tif", one, **UTM), raster(tmp_path / "b.tif", other, **UTM)
    compare(a, b, output=tmp_path / "changed.tif")
    nothing = (one == IGNORE) | (other == IGNORE)
    with rasterio.open(tmp_path / "changed.tif") as changed, rasterio.open(a) as given_:
        assert (changed.crs, changed.transform) == (given_.crs, given_.transform)
        np.testing.assert_array_equal(
            changed.read(1), np.where(nothing, IGNORE, (one != other).astype(np.uint8))
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "b.tif", "changed.tif"]


def test_a_raster_agrees_with_itself_and_one_without_legend_uses_that_of_the_other(
    tmp_path: Path,
) -> None:
    a = raster(tmp_path / "a.tif", blotches(0), **UTM)
    b = raster(tmp_path / "b.png", blotches(0), legend=False, driver="PNG")
    told = compare(b, a).to_json()
    assert told["agreement"] == 1
    assert told["changes"] == []
    assert list(told["classes"]) == list(LEGEND.names)
    assert told["classes"]["ship"]["iou"] == 1
    assert told["changed_m2"] is None  # the first one has no place


def test_rasters_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    a = raster(tmp_path / "a.tif", blotches(0), **UTM)
    moved = {**UTM, "transform": UTM["transform"] @ Affine.translation(1, 0)}
    for name, labels, place in (
        ("small.tif", blotches(0)[:-1], UTM),
        ("moved.tif", blotches(0), moved),
        ("nowhere.tif", blotches(0), {"transform": moved["transform"]}),
        ("degrees.tif", blotches(0), DEGREES),
    ):
        other = raster(tmp_path / name, labels, **place)
        with pytest.raises(SceneError, match=f"{name}: is not on the grid of"):
            compare(a, other)
    foreign = raster(tmp_path / "foreign.tif", blotches(0), **UTM)
    with rasterio.open(foreign, "r+") as written:
        tag = legend_tags(LEGEND)
        written.update_tags(**{k: v.replace("ship", "boat") for k, v in tag.items()})
    with pytest.raises(SceneError, match="other classes than"):
        compare(a, foreign)
    with pytest.raises(OutputError, match="--overwrite"):
        compare(a, a, output=foreign)
    with pytest.raises(ConfigError, match="one of the inputs"):
        compare(a, a, output=a, overwrite=True)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("drawn"), scenes=8, size=100)


@pytest.fixture(scope="module")
def rough(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of labels: correct, and with the lower half of every scene empty."""
    opened = Dataset.open(drawn)
    truth = opened.annotations()
    folders = tuple(tmp_path_factory.mktemp(name) for name in ("right", "half"))
    for scene in opened.split("val"):
        labels = burn(truth[scene.name], scene.height, scene.width)
        write_scene(folders[0] / f"{scene.name}.tif", labels[None])
        labels[50:] = 0
        write_scene(folders[1] / f"{scene.name}.tif", labels[None])
    return folders[0], folders[1]


def test_a_gain_on_all_scenes_is_significant_and_equal_scores_are_not(
    drawn: Path, rough: tuple[Path, Path], tmp_path: Path
) -> None:
    right, half = rough
    (found,) = compare_models(half, right, drawn, json=tmp_path / "c.json")
    told = found.to_json()
    assert json.loads((tmp_path / "c.json").read_text()) == [told]
    assert told["miou"]["b"] == 1
    assert told["miou"]["difference"] == pytest.approx(1 - told["miou"]["a"], abs=1e-4)
    assert told["miou"]["differs"]
    low, high = told["miou"]["interval"]
    assert 0 < low <= told["miou"]["difference"] <= high
    assert told["classes"]["plane"]["iou"]["differs"]
    assert told["classes"]["bridge"]["iou"]["interval"] is None
    assert not told["classes"]["bridge"]["iou"]["differs"]
    (same,) = compare_models(right, right, drawn)
    assert same.to_json()["miou"]["interval"] == [0, 0]
    assert not same.to_json()["miou"]["differs"]


def test_swapping_the_models_swaps_the_sign(drawn: Path, rough: tuple[Path, Path]) -> None:
    (there,), (back,) = compare_models(*rough, drawn), compare_models(*rough[::-1], drawn)
    one, other = there.to_json()["miou"], back.to_json()["miou"]
    assert one["difference"] == -other["difference"]
    assert one["interval"] == pytest.approx([-bound for bound in other["interval"][::-1]])


def test_tables_fit_a_terminal(drawn: Path, rough: tuple[Path, Path], tmp_path: Path) -> None:
    (found,) = compare_models(*rough, drawn)
    a, b = (raster(tmp_path / f"{n}.tif", blotches(n), **UTM) for n in range(2))
    for text in (format_comparison(found), format_agreement(compare(a, b))):
        assert max(map(len, text.splitlines())) <= 100


def test_the_command_compares_both(
    drawn: Path, rough: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (raster(tmp_path / f"{n}.tif", blotches(n), **UTM) for n in range(2))
    assert boundary.run(geoseg, ["compare", str(a), str(b)]) == 0
    assert "plane → ship" in capsys.readouterr().out
    assert boundary.run(geoseg, ["compare", str(a), str(b), "--progress", "json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["a"], told["b"]) == ("0.tif", "1.tif")
    models = [*map(str, rough), "--dataset", str(drawn)]
    assert boundary.run(geoseg, ["compare", *models, "--progress", "json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["comparisons"][0]["miou"]["differs"]
    for words in (
        ["a.safetensors", "b.safetensors"],
        [*models, "-o", str(tmp_path / "changed.tif")],
    ):
        assert boundary.run(geoseg, ["compare", *words]) == 2
        assert "--" in capsys.readouterr().err


def test_label_rasters_are_not_compared_on_a_dataset(
    drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "a.tif", "b.tif", "--dataset", str(drawn)]
    assert boundary.run(geoseg, words) == 2
    assert "without --dataset" in capsys.readouterr().err
