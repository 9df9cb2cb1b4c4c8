"""ONNX files run on what they say of themselves, or on what the user says, and never on a guess."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import rasterio
import torch
from torch import Tensor, nn

from geoseg.errors import ConfigError, ModelError
from geoseg.models.model_file import load_model
from geoseg.models.onnx import convert_to_backend, load_onnx, write_onnx
from geoseg.models.runtime import RuntimeNetwork
from tests.calls import segment
from tests.scenes import (
    LEGEND,
    UTM,
    model_file,
    objects_model,
    objects_model_file,
    picture,
    tiny_model,
    write_scene,
)


class Elsewhere(nn.Module):
    """A network of somebody else's: brighter pixels are of higher classes."""

    def __init__(self, classes: int = 3, *, softmax: bool = False) -> None:
        super().__init__()
        self.levels = nn.Conv2d(3, classes, 3, padding=1)
        self.softmax = softmax

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.levels(image)
        return logits.softmax(dim=1) if self.softmax else logits


def foreign(
    path: Path, network: nn.Module, *, size: int | None = None, props: dict[str, Any] | None = None
) -> Path:
    free = {0: "n"} | ({2: "h", 3: "w"} if size is None else {})
    image = torch.zeros(1, 3, size or 64, size or 64)
    torch.onnx.export(
        network.eval(), (image,), path, dynamo=False, opset_version=17,
        input_names=["x"], output_names=["y"], dynamic_axes={"x": free, "y": free},
    )  # fmt: skip
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {k: json.dumps(v) for k, v in (props or {}).items()})
    onnx.save(model, path)
    return path


CARD = {"legend": ["background", "grass", "snow"], "mean": [100, 110, 120], "std": [50, 50, 50]}
DEEPNESS = {
    "model_type": "Segmentor",
    "class_names": {"0": "background", "1": "grass", "2": "snow"},
    "resolution": 30,
    "tile_size": 64,
    "tiles_overlap": 25,
    "standardization_mean": [0.4, 0.5, 0.6],
    "standardization_std": [0.2, 0.2, 0.25],
}


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_geoseg_model_is_the_same_on_every_backend(backend: Any) -> None:
    pytest.importorskip("openvino" if backend == "openvino" else "onnxruntime")
    model = tiny_model()
    image = torch.randn(1, 3, 44, 60)
    with torch.inference_mode():
        difference = model.network(image) - convert_to_backend(model, backend).network(image)
    assert difference.abs().max() < 1e-4


def test_geosegs_own_file_needs_nothing_else(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(90, 80), **UTM)
    file = model_file(tmp_path / "tiny.safetensors", margin=32)
    write_onnx(tmp_path / "free.onnx", tiny_model(), size=None)
    write_onnx(tmp_path / "square.onnx", tiny_model(), size=96)
    made = {}
    for model in (file, tmp_path / "free.onnx", tmp_path / "square.onnx"):
        labels = tmp_path / f"{model.stem}.tif"
        segment(scene, tmp_path / f"{model.stem}.gpkg", model=model, labels=labels, margin=32)
        with rasterio.open(labels) as dataset:
            made[model.stem] = dataset.read(1)
    assert (made["tiny"] == made["free"]).mean() > 0.999
    assert (made["tiny"] == made["square"]).mean() > 0.98  # whose windows are smaller
    assert load_onnx(tmp_path / "square.onnx").window == 96


@pytest.mark.parametrize("size", [None, 64])
@pytest.mark.parametrize("softmax", [False, True])
def test_what_deepness_reads_is_enough(tmp_path: Path, size: int | None, softmax: bool) -> None:
    torch.manual_seed(0)
    network = Elsewhere(softmax=softmax)
    file = foreign(tmp_path / "theirs.onnx", network, size=size, props=DEEPNESS)
    model = load_onnx(file)
    assert model.card.legend.names == ("background", "grass", "snow")
    assert model.card.mean == pytest.approx((102, 127.5, 153))
    assert model.card.std == pytest.approx((51, 51, 63.75))
    assert model.card.pixel_size_m == (0.3, 0.3)
    assert isinstance(model.network, RuntimeNetwork)
    assert model.network.probabilities is softmax
    pixels = picture(150, 130)
    scene = write_scene(tmp_path / "scene.tif", pixels, **UTM)
    labels = tmp_path / "labels.tif"
    segment(scene, tmp_path / "out.gpkg", model=file, labels=labels)
    scaled = (pixels - np.reshape(model.card.mean, (3, 1, 1))) / np.reshape(
        model.card.std, (3, 1, 1)
    )
    with torch.inference_mode():
        best = network(torch.from_numpy(scaled).float()[None])[0].topk(2, dim=0)
    clear = (best.values[0] - best.values[1] > 1e-4).numpy()
    with rasterio.open(labels) as dataset:
        assert np.array_equal(dataset.read(1)[clear], best.indices[0].numpy()[clear])


def test_a_card_of_the_users_says_what_a_file_does_not(tmp_path: Path) -> None:
    file = foreign(tmp_path / "bare.onnx", Elsewhere())
    card = tmp_path / "card.json"
    with pytest.raises(ModelError, match="--card"):
        load_onnx(file)
    card.write_text(json.dumps(CARD))
    assert load_onnx(file, card).card.mean == (100, 110, 120)
    card.write_text(json.dumps(CARD | {"legend": LEGEND.to_json()}))
    with pytest.raises(ModelError, match="3 classes, but its card names 4"):
        load_onnx(file, card)
    card.write_text(json.dumps({"mean": [1, 2, 3]}))
    with pytest.raises(ConfigError, match="legend"):
        load_onnx(file, card)
    card.write_text("[]")
    with pytest.raises(ConfigError, match="not a model card"):
        load_onnx(file, card)


def test_one_share_is_that_of_the_second_class(tmp_path: Path) -> None:
    network = nn.Sequential(Elsewhere(1), nn.Sigmoid())
    card = tmp_path / "card.json"
    card.write_text(json.dumps(CARD | {"legend": ["background", "snow"]}))
    model = load_onnx(foreign(tmp_path / "one.onnx", network), card)
    image = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        share = model.network(image).softmax(dim=1)[:, 1]
        assert torch.allclose(share, network(image)[:, 0], atol=1e-5)


@pytest.mark.parametrize("data", [b"", b"no onnx", b"\x08\x07" * 40])
def test_garbage_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"bad\.onnx"):
        load_onnx(tmp_path / "bad.onnx")


def test_weights_outside_the_file_are_not_fetched(tmp_path: Path) -> None:
    file = foreign(tmp_path / "model.onnx", Elsewhere(), props=DEEPNESS)
    model = onnx.load(file)
    (tmp_path / "elsewhere").mkdir()
    onnx.save(
        model, tmp_path / "elsewhere" / "model.onnx", save_as_external_data=True,
        location="secret.bin", size_threshold=0, convert_attribute=True,
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"model\.onnx"):
        load_onnx(tmp_path / "elsewhere" / "model.onnx")


def test_a_backend_that_cannot_is_refused(tmp_path: Path) -> None:
    model = load_onnx(foreign(tmp_path / "theirs.onnx", Elsewhere(), props=DEEPNESS))
    with pytest.raises(ConfigError, match="--backend onnx"):
        convert_to_backend(model, "torch")
    scene = write_scene(tmp_path / "scene.tif", picture(40, 40), **UTM)
    with pytest.raises(ConfigError, match="--margin exact"):
        segment(scene, tmp_path / "o.gpkg", model=tmp_path / "theirs.onnx", margin="exact")


def test_a_card_with_object_rules_needs_an_output_of_objects(tmp_path: Path) -> None:
    model = tiny_model()
    write_onnx(tmp_path / "m.onnx", model)
    told = json.dumps(objects_model().card.to_json())
    (tmp_path / "card.json").write_text(told, encoding="utf-8")
    with pytest.raises(ModelError, match=r"m\.onnx: its card has object rules"):
        load_onnx(tmp_path / "m.onnx", tmp_path / "card.json")


def test_objects_are_the_same_from_a_model_file_and_its_onnx_file(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(90, 80), **UTM)
    model = objects_model_file(tmp_path / "m.safetensors")
    exported = tmp_path / "m.onnx"
    write_onnx(exported, load_model(model))  # of any size, so both predict the same windows
    planes = []
    for file in (model, exported):
        labels, interior = (tmp_path / f"{file.suffix[1:]}-{n}.tif" for n in ("labels", "interior"))
        segment(scene, file.with_suffix(".gpkg"), model=file, labels=labels, interior=interior,
                split="none", overwrite=True)  # fmt: skip
        with rasterio.open(labels) as of_classes, rasterio.open(interior) as of_objects:
            planes.append((of_classes.read(1), of_objects.read(1).astype(int)))
    (labels_of_one, interior_of_one), (labels_of_other, interior_of_other) = planes
    assert (labels_of_one == labels_of_other).mean() > 0.999
    assert np.abs(interior_of_one - interior_of_other).max() <= 1  # rounded to 8 bits
