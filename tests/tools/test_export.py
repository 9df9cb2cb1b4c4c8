"""The contract with Deepness and onnxruntime: every key, shape and scaling of an exported file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from geoseg.errors import ConfigError, GeosegError, OutputError
from geoseg.inference.predictor import Predictor
from geoseg.inference.reader import TileInput
from geoseg.models.model_file import ModelCard, load_model, save_model
from geoseg.models.unet import UNet
from geoseg.raster.tiles import tile_grid
from tests.calls import export
from tests.scenes import LEGEND, card, model_file, objects_model_file, picture


def exported(folder: Path, *, size: int | None = None, **more: Any) -> tuple[Path, Path]:
    """A model file and its ONNX file."""
    model = model_file(folder / "m.safetensors", **more)
    return model, export(folder / "m.onnx", model=model, size=size)


def opened(path: Path) -> tuple[onnxruntime.InferenceSession, dict[str, str]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session, session.get_modelmeta().custom_metadata_map


def test_every_key_that_deepness_reads_exists_and_is_json(tmp_path: Path) -> None:
    _, path = exported(tmp_path, pixel_size_m=(0.2, 0.8), margin=32)
    told = {
        key: json.loads(text)
        for key, text in opened(path)[1].items()
        if not key.startswith("geoseg")
    }
    assert told == {
        "model_type": "Segmentor",
        "class_names": {"0": "background", "1": "plane", "2": "ship", "3": "harbor"},
        "resolution": 40.0,  # centimetres, in the middle of the sizes it was trained at
        "tile_size": 512,
        "tiles_size": 512,
        "tiles_overlap": 13,  # percent; half of it is 33 pixels, the margin is 32
        "standardization_mean": pytest.approx([100 / 255, 120 / 255, 90 / 255]),
        "standardization_std": pytest.approx([50 / 255, 60 / 255, 40 / 255]),
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }


def test_the_keys_of_geoseg_have_the_complete_card(tmp_path: Path) -> None:
    model, path = exported(tmp_path)
    told = opened(path)[1]
    source = load_model(model)
    assert ModelCard.from_json(json.loads(told["geoseg"])) == source.card
    assert told["geoseg_sha256"] == source.sha256
    assert told["geoseg_output"] == "probabilities"


def test_a_model_of_unknown_pixel_size_names_no_resolution(tmp_path: Path) -> None:
    assert "resolution" not in opened(exported(tmp_path)[1])[1]


def test_the_tensors_fit_deepness(tmp_path: Path) -> None:
    session, _ = opened(exported(tmp_path, size=96)[1])
    (image,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (image.type, probabilities.type) == ("tensor(float)", "tensor(float)")
    assert image.shape == ["batch", 3, 96, 96]
    assert probabilities.shape == ["batch", len(LEGEND), 96, 96]


def test_deepness_s_scaling_then_argmax_gives_geoseg_s_labels_and_confidence(
    tmp_path: Path,
) -> None:
    torch.manual_seed(2)
    network = UNet(3, len(LEGEND), width=4, depth=2)
    torch.nn.init.normal_(network.head.weight, std=3)
    model = save_model(tmp_path / "m.safetensors", network.state_dict(), card(), half=False)
    session, told = opened(export(tmp_path / "m.onnx", model=model, size=96))
    pixels = picture(96, 96)
    # as Deepness does it, for uint8 (n, h, w, bands)
    batch = pixels.transpose(1, 2, 0)[None].astype("float32") / 255
    batch -= np.array(json.loads(told["standardization_mean"]), np.float32)
    batch /= np.array(json.loads(told["standardization_std"]), np.float32)
    batch = batch.transpose(0, 3, 1, 2)
    probabilities = session.run(None, {session.get_inputs()[0].name: batch})[0][0]
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)

    (tile,) = tile_grid(96, 96, core=96, margin=0, multiple=4)
    everywhere = np.ones((96, 96), bool)
    tile_input = TileInput(tile, pixels, everywhere, tile.core, everywhere)
    (prediction,) = Predictor(load_model(model)).predict([tile_input])
    best = np.sort(probabilities, axis=0)
    sure = best[-1] - best[-2] > 1e-4  # a tie may fall either way
    assert sure.mean() > 0.99
    assert len(np.unique(prediction.labels)) > 1
    np.testing.assert_array_equal(probabilities.argmax(axis=0)[sure], prediction.labels[sure])
    np.testing.assert_allclose(best[-1] * 200, prediction.confidence, atol=0.51)


@pytest.mark.parametrize(
    ("name", "size", "kind", "why"),
    [
        ("m.pt", None, ConfigError, "in .onnx"),
        ("m.onnx", 98, ConfigError, "stride, 4"),
        ("m.onnx", 64, ConfigError, "margin, 32"),
        ("none/m.onnx", None, OutputError, "does not exist"),
    ],
)
def test_an_invalid_export_is_refused_with_one_line_and_leaves_no_file(
    tmp_path: Path, name: str, size: int | None, kind: type[GeosegError], why: str
) -> None:
    model = model_file(tmp_path / "m.safetensors")
    with pytest.raises(kind, match=why):
        export(tmp_path / name, model=model, size=size)
    assert list(tmp_path.iterdir()) == [model]


def test_an_existing_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    model, path = exported(tmp_path)
    with pytest.raises(OutputError, match="--overwrite"):
        export(path, model=model)
    assert export(path, model=model, overwrite=True) == path


@pytest.mark.slow
def test_the_shipped_model_can_be_exported(tmp_path: Path) -> None:
    session, told = opened(export(tmp_path / "m.onnx"))
    assert session.get_inputs()[0].shape == ["batch", 3, 2048, 2048]
    assert json.loads(told["tiles_overlap"]) == 38  # percent: twice the margin of 384


def test_objects_are_exported_on_request_only(tmp_path: Path) -> None:
    model = objects_model_file(tmp_path / "m.safetensors")
    for objects, names in ((False, ["probabilities"]), (True, ["probabilities", "objects"])):
        path = export(tmp_path / f"{objects}.onnx", model=model, size=96, objects=objects)
        session, metadata = opened(path)
        assert [output.name for output in session.get_outputs()] == names
        assert (ModelCard.from_json(json.loads(metadata["geoseg"])).objects is None) != objects
        assert json.loads(metadata["class_names"])["1"] == "plane"


def test_objects_of_a_model_without_them_are_refused(tmp_path: Path) -> None:
    model = model_file(tmp_path / "m.safetensors")
    with pytest.raises(ConfigError, match="no object outputs"):
        export(tmp_path / "m.onnx", model=model, objects=True)
