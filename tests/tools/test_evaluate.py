"""Evaluation of a model, and of labels on disk, on a small dataset."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import torch

from geoseg.annotations.burn import burn
from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError, DatasetError, OutputError, SceneError
from geoseg.metrics.confusion import confusion_matrix
from geoseg.models.model_file import load_model, save_model
from geoseg.models.unet import UNet
from geoseg.options import PolygonOptions, ScoringOptions, Split
from geoseg.polygons.object_rules import ObjectRule, default_rules
from geoseg.raster.labels import LEGEND_TAG
from geoseg.report.tables import format_evaluation, format_scores
from tests.calls import evaluate, segment, vectorize
from tests.scenes import card, objects_card, tiny_network, write_scene
from tests.synthetic_dataset import dataset

SIZE = 160
MERGED = ScoringOptions(cleaning=PolygonOptions(split="none"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("drawn"), scenes=6, size=SIZE)


@pytest.fixture(scope="module")
def model(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained model with high confidence for some classes."""
    legend = Dataset.open(drawn).legend
    torch.manual_seed(0)
    network = UNet(3, len(legend), width=4, depth=2).eval()
    with torch.no_grad():
        network.head.weight *= 40
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    return save_model(path, network.state_dict(), replace(card(), legend=legend), half=False)


@pytest.fixture(scope="module")
def kept(drawn: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels and confidences of that model, and its scores."""
    folder = tmp_path_factory.mktemp("kept") / "labels"
    scores = folder.with_name("scores.json")
    evaluate(drawn, model=model, keep=folder, json=scores)
    return folder


@pytest.fixture
def perfect(drawn: Path, tmp_path: Path) -> Path:
    """Labels burned from the annotations, as PNG files without georeference."""
    folder = tmp_path / "perfect"
    folder.mkdir()
    opened = Dataset.open(drawn)
    truth = opened.annotations()
    for scene in opened.split("val"):
        labels = burn(truth[scene.name], scene.height, scene.width)
        write_scene(folder / f"{scene.name}.png", labels[None], driver="PNG")
    return folder


def test_kept_labels_have_the_scores_of_their_model(
    drawn: Path, kept: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.json"
    evaluate(drawn, labels=kept, json=again)
    (first,), (second,) = (
        json.loads(path.read_text()) for path in (kept.with_name("scores.json"), again)
    )
    assert first.pop("model") == "m.safetensors"
    assert second.pop("model") == "labels"
    assert first == second
    assert first["calibration"]["ece"] > 0


def test_kept_labels_are_georeferenced_label_rasters_with_legend(drawn: Path, kept: Path) -> None:
    scene = Dataset.open(drawn).split("val")[0]
    with rasterio.open(kept / f"{scene.name}.tif") as labels:
        assert labels.crs == rasterio.open(drawn / scene.file).crs
        assert "plane" in labels.tags()[LEGEND_TAG]
        assert labels.colormap(1)[1][3] == 255
    assert (kept / f"{scene.name}.confidence.tif").is_file()


def test_counts_equal_those_of_whole_arrays_and_of_vectorized_polygons(
    drawn: Path, kept: Path
) -> None:
    (evaluation,) = evaluate(
        drawn, labels=kept, scoring=ScoringOptions(cleaning=PolygonOptions(min_pixels=4))
    )
    opened = Dataset.open(drawn)
    truth = opened.annotations()
    found = 0
    for scene, matrix in zip(opened.split("val"), evaluation.matrices, strict=True):
        with rasterio.open(kept / f"{scene.name}.tif") as raster:
            labels = raster.read(1)
        whole = burn(truth[scene.name], *labels.shape)
        np.testing.assert_array_equal(matrix, confusion_matrix(whole, labels, len(opened.legend)))
        found += len(
            vectorize(kept / f"{scene.name}.tif", None, polygons=PolygonOptions(min_pixels=4))
        )
    told = evaluation.to_json()
    assert told["objects"]["found"] == found
    assert told["objects"]["truth"] == sum(len(truth[s.name]) for s in opened.split("val"))
    assert told["pixels"] == 6 * SIZE**2
    np.testing.assert_array_equal(told["confusion"], evaluation.matrices.sum(axis=0))


def test_every_key_of_the_object_scores_is_documented(kept: Path) -> None:
    (told,) = json.loads(kept.with_name("scores.json").read_text())
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text("utf-8")

    def keys(data: object) -> Iterator[str]:
        if isinstance(data, dict):
            for key, value in data.items():
                yield key
                yield from keys(value)

    named = {*keys(told["objects"]), *keys(told["classes"]["plane"]["objects"])}
    assert [key for key in sorted(named) if f"`{key}`" not in page] == []


def test_objects_are_scored_as_segment_writes_them(drawn: Path, tmp_path: Path) -> None:
    opened = Dataset.open(drawn)
    network = tiny_network(objects=True, classes=len(opened.legend))
    rules = default_rules(len(opened.legend), ObjectRule(seed=60, part=4, min_pixels=3))
    of_model = replace(objects_card(), legend=opened.legend, objects=rules)
    model = save_model(tmp_path / "objects.safetensors", network.state_dict(), of_model, half=False)
    scores = [tmp_path / name for name in ("model.json", "kept.json")]
    (separated,) = evaluate(drawn, model=model, keep=tmp_path / "kept", json=scores[0])
    (merged,) = evaluate(drawn, labels=tmp_path / "kept", scoring=MERGED)
    written = {"interior": 0, "none": 0}
    for scene in opened.split("val"):
        for split in written:
            output = tmp_path / f"{scene.name}-{split}.gpkg"
            segment(opened.path(scene), output, model=model, split=split)
            written[split] += len(pyogrio.read_dataframe(output, layer="segments"))
    assert separated.to_json()["objects"]["found"] == written["interior"] != written["none"]
    assert merged.to_json()["objects"]["found"] == written["none"]
    evaluate(drawn, labels=tmp_path / "kept", json=scores[1])
    (first,), (second,) = (json.loads(path.read_text()) for path in scores)
    assert first.pop("model") != second.pop("model")
    assert first == second


def test_labels_burned_from_the_reference_have_perfect_scores(drawn: Path, perfect: Path) -> None:
    (evaluation,) = evaluate(drawn, labels=perfect)
    told = evaluation.to_json()
    for score in ("miou", "miou_with_background", "fwiou", "accuracy", "boundary_miou"):
        assert told[score] == 1
    assert told["classes"]["plane"]["objects"]["recall"] > 0.5  # some lie below others
    assert told["intervals"]["miou"] == [1, 1]
    assert told["calibration"] is told["threshold"] is None  # confidences are unknown
    assert all(scene["miou"] == 1 for scene in told["by_scene"].values())
    assert "confidences of the labels are unknown" in format_evaluation(evaluation)


def test_the_json_has_everything_that_the_report_needs(kept: Path) -> None:
    (told,) = json.loads(kept.with_name("scores.json").read_text())
    assert set(told) == {
        *("model", "dataset", "split", "truth", "scenes", "legend", "rules"),
        *("miou", "miou_with_background", "fwiou", "accuracy", "boundary_miou", "boundary_px"),
        *("pixels", "intervals", "classes", "objects", "calibration", "threshold", "by_scene"),
        "confusion",
    }
    plane = told["classes"]["plane"]
    assert set(plane) == {
        *("iou", "precision", "recall", "f1", "boundary_iou", "interval"),
        *("pixels", "predicted", "scenes", "objects"),
    }
    low, high = plane["interval"]
    assert low <= plane["iou"] <= high
    assert set(plane["objects"]["by_size"]) == {"small", "medium", "large"}
    for count in ("truth", "found", "matched"):
        sizes = plane["objects"]["by_size"].values()
        assert sum(size[count] for size in sizes) == plane["objects"][count]
    assert set(plane["objects"]) == {
        *("truth", "found", "matched", "precision", "recall", "f1", "interval", "by_size"),
        *("ap", "panoptic", "kinds", "count_error", "box_ap50"),
    }
    for side in ("truth", "found"):
        assert sum(plane["objects"]["kinds"][side].values()) == plane["objects"][side]
        counts = [of["objects"].get("plane", {side: 0}) for of in told["by_scene"].values()]
        assert sum(of[side] for of in counts) == plane["objects"][side]
    assert told["classes"]["harbor"]["objects"]["panoptic"] is None  # is not countable
    assert "objects" not in told["classes"]["background"]
    assert told["classes"]["bridge"]["interval"] is None
    assert sum(b["pixels"] for b in told["calibration"]["bins"]) == told["pixels"]
    assert len(told["threshold"]["curves"]["classes"]["plane"]["recall"]) == 21
    assert set(told["by_scene"]["val0"]) == {"miou", "pixels", "classes", "objects"}


def test_options_that_are_not_given_have_their_defaults(
    monkeypatch: pytest.MonkeyPatch, drawn: Path
) -> None:
    asked: dict[str, object] = {}
    module = sys.modules["geoseg.tools.evaluate"]  # the package's attribute is the tool
    monkeypatch.setattr(module, "evaluate", lambda *_, **wishes: asked.update(wishes) or [])
    assert boundary.run(geoseg, ["evaluate", str(drawn)]) == 0
    assert asked["scoring"] == ScoringOptions()


def test_scores_are_added_to_those_in_the_card(drawn: Path, model: Path, tmp_path: Path) -> None:
    before = load_model(model)
    copy = save_model(
        tmp_path / "real.safetensors",
        before.network.state_dict(),
        replace(before.card, scores={"test, quads": {"miou": 0.5}, "val, quads": {"miou": 2.0}}),
        half=False,
    )
    (link := tmp_path / "link.safetensors").symlink_to(copy)
    words = ["evaluate", str(drawn), "-m", str(link), "--difficult", "ignore", "--write"]
    assert boundary.run(geoseg, words) == 0
    assert link.is_symlink()
    after = load_model(copy)
    assert after.sha256 == before.sha256
    assert replace(after.card, scores={}) == before.card
    (evaluation,) = evaluate(drawn, model=model, scoring=ScoringOptions(difficult="ignore"))
    told = evaluation.to_json()
    assert after.card.scores["test, quads"] == {"miou": 0.5}
    assert after.card.scores["val, quads"] == {
        "dataset": drawn.name,
        "scenes": 6,
        "difficult": "ignore",
        "miou": told["miou"],
        "miou_with_background": told["miou_with_background"],
        "iou": {name: of["iou"] for name, of in told["classes"].items()},
    }


def test_the_tables_fit_a_terminal(drawn: Path, kept: Path) -> None:
    (evaluation,) = evaluate(drawn, labels=kept)
    text = format_evaluation(evaluation)
    assert max(map(len, text.splitlines())) <= 100
    assert format_scores(evaluation) in text


def test_options_that_contradict_each_other_are_refused(
    drawn: Path, kept: Path, model: Path
) -> None:
    with pytest.raises(ConfigError, match="Choose one"):
        evaluate(drawn, labels=kept, model=model)
    with pytest.raises(ConfigError, match="Choose one"):
        evaluate(drawn, labels=kept, write=True)
    with pytest.raises(ConfigError, match="with -m"):
        evaluate(drawn, write=True)
    with pytest.raises(OutputError, match="--overwrite"):
        evaluate(drawn, model=model, keep=kept)


def test_a_split_needs_its_plane(drawn: Path, model: Path, perfect: Path) -> None:
    def scoring(split: Split) -> ScoringOptions:
        return ScoringOptions(cleaning=PolygonOptions(split=split))

    with pytest.raises(
        ConfigError, match=r"split-objects interior: .*m\.safetensors has no interior"
    ):
        evaluate(drawn, model=model, scoring=scoring("interior"))
    with pytest.raises(ConfigError, match="perfect, scene val0 has no confidence"):
        evaluate(drawn, labels=perfect, scoring=scoring("confidence"))


def test_labels_that_do_not_belong_to_the_dataset_are_refused(
    drawn: Path, perfect: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="not a folder"):
        evaluate(drawn, labels=tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"train0\.tif or \.png.* 6 of 6 scenes"):
        evaluate(drawn, labels=perfect, split="train")
    other = write_scene(perfect / "val0.png", np.zeros((1, 9, 8), np.uint8), driver="PNG")
    with pytest.raises(SceneError, match="8 x 9 pixels, but its scene is 160 x 160"):
        evaluate(drawn, labels=perfect)
    other.unlink()
    foreign = np.full((1, SIZE, SIZE), 77, np.uint8)
    write_scene(other, foreign, driver="PNG")
    with pytest.raises(SceneError, match="holds class 77"):
        evaluate(drawn, labels=perfect)
    other.unlink()
    path = write_scene(perfect / "val0.tif", foreign * 0)
    with rasterio.open(path, "r+") as raster:
        legend = [{"id": 0, "name": "nothing", "colour": "#000000"}]
        legend.append({"id": 1, "name": "tree", "colour": "#00ff00"})
        raster.update_tags(**{LEGEND_TAG: json.dumps(legend)})
    with pytest.raises(DatasetError, match="classes"):
        evaluate(drawn, labels=perfect)


def test_the_command_scores_labels_and_prints_json_for_programs(
    drawn: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(drawn), "--labels", str(kept), "--min-pixels", "9", "--match", "0.6"]
    assert boundary.run(geoseg, words) == 0
    out, _ = capsys.readouterr()
    assert "IoU of at least 0.6" in out
    assert "| plane " in out
    assert boundary.run(geoseg, [*words, "--progress", "json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["scores"][0]["objects"]["iou"] == 0.6
