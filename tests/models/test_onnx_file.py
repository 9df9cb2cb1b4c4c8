"""A network as ONNX says what it says in torch, and what a reader needs to know of it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.errors import ConfigError, ModelError
from geoseg.models.mobile_unet import MobileUNet
from geoseg.models.model_file import Model
from geoseg.models.onnx import (
    convert_to_backend,
    load_onnx,
    omit_objects,
    onnx_graph,
    read_onnx_card,
    write_onnx,
)
from geoseg.models.unet import UNet
from tests.scenes import LEGEND, card, objects_model, tiny_model


def mobile_model() -> Model:
    """A mobile U-Net of random weights."""
    torch.manual_seed(1)
    network = MobileUNet(3, len(LEGEND), pool=2).eval()
    more = {"architecture": "mobile-unet", "parameters": {"pool": 2}, "stride": 64, "margin": 64}
    told = type(card())(**{**{f: getattr(card(), f) for f in card().__slots__}, **more})
    return Model(Path("mobile.safetensors"), told, network, "1" * 64)


def run(graph: bytes, image: Tensor) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    return found


@pytest.mark.parametrize("model", [tiny_model(), mobile_model()], ids=["unet", "mobile-unet"])
@pytest.mark.parametrize("softmax", [False, True])
@torch.inference_mode()
def test_a_graph_of_free_size_gives_torch_s_output_at_any_size(model: Model, softmax: bool) -> None:
    graph = onnx_graph(model, softmax=softmax)
    stride = model.card.stride
    for batch, rows, columns in [(1, 1, 1), (3, 2, 5), (2, 7, 3)]:
        image = torch.randn(batch, 3, rows * stride, columns * stride)
        expected = model.network(image)
        if softmax:
            expected = expected.softmax(dim=1)
        np.testing.assert_allclose(run(graph, image), expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("model", [tiny_model(), mobile_model()], ids=["unet", "mobile-unet"])
def test_a_graph_is_one_that_old_onnxruntimes_read(model: Model) -> None:
    graph = onnx.load_from_string(onnx_graph(model, softmax=True, size=128))
    onnx.checker.check_model(graph, full_check=True)
    assert graph.ir_version <= 8
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", 17)]
    assert not any(tensor.external_data for tensor in graph.graph.initializer)
    assert not any(node.domain for node in graph.graph.node)


def test_without_the_extra_a_file_is_not_written_and_the_error_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'geoseg\[onnx\]'"):
        write_onnx(tmp_path / "m.onnx", tiny_model())
    assert not list(tmp_path.iterdir())


def test_the_card_comes_back_from_the_file(tmp_path: Path) -> None:
    model = tiny_model(pixel_size_m=(0.1, 0.5), training={"terms": "free; für alle"})
    assert write_onnx(tmp_path / "m.onnx", model) <= 1e-4
    assert read_onnx_card(tmp_path / "m.onnx") == model.card


def test_what_is_no_onnx_file_of_geoseg_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    (tmp_path / "bare.onnx").write_bytes(onnx_graph(tiny_model(), softmax=True))
    for name in ("text.onnx", "bare.onnx", "none.onnx"):
        with pytest.raises(ModelError, match=name):
            read_onnx_card(tmp_path / name)


class Restless(UNet):
    """Another function every time it is asked, as no graph can be."""

    asked = 0

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → (N, classes, H, W)"""
        self.asked += 1
        return super().forward(image) + float(self.asked)


def test_a_file_that_differs_from_torch_is_not_written(tmp_path: Path) -> None:
    network = Restless(3, len(LEGEND), width=4, depth=2).eval()
    model = Model(Path("restless.safetensors"), card(), network, "0" * 64)
    with pytest.raises(ModelError, match="differs from torch's"):
        write_onnx(tmp_path / "m.onnx", model, softmax=False)
    assert not list(tmp_path.iterdir())


class Untold(nn.Module):
    """An operation that opset 17 has no words for."""

    stride = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, len(LEGEND), 1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → (N, classes, H, W)"""
        image = self.conv(image)
        special: Tensor = torch.special.bessel_j0(image)
        return special


def test_an_architecture_that_onnx_cannot_say_is_a_model_error() -> None:
    model = Model(Path("untold.safetensors"), card(), Untold().eval(), "0" * 64)
    with pytest.raises(ModelError, match=r"untold\.safetensors: its architecture"):
        onnx_graph(model, softmax=False)


@pytest.mark.parametrize("softmax", [False, True])
@torch.inference_mode()
def test_objects_are_a_second_output(softmax: bool) -> None:
    model = objects_model()
    graph = onnx_graph(model, softmax=softmax)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names == ["probabilities" if softmax else "logits", "objects"]
    image = torch.randn(2, 3, 16, 32)
    expected = model.network(image)
    classes, objects = session.run(None, {"image": image.numpy()})
    logits = expected[:, : len(LEGEND)]
    wanted = logits.softmax(dim=1) if softmax else logits
    np.testing.assert_allclose(classes, wanted.numpy(), atol=1e-4)
    np.testing.assert_allclose(objects, expected[:, len(LEGEND) :].numpy(), atol=1e-4)


@pytest.mark.parametrize("softmax", [False, True])
@torch.inference_mode()
def test_a_file_with_objects_is_read_back_with_them(tmp_path: Path, softmax: bool) -> None:
    model = objects_model()
    write_onnx(tmp_path / "m.onnx", model, softmax=softmax)
    read = load_onnx(tmp_path / "m.onnx")
    assert read.card.to_json() == model.card.to_json()
    image = torch.randn(1, 3, 16, 16)
    expected, found = model.network(image), read.network(image)
    classes = len(LEGEND)
    torch.testing.assert_close(found[:, classes:], expected[:, classes:], atol=1e-4, rtol=0)
    torch.testing.assert_close(
        found[:, :classes].softmax(1), expected[:, :classes].softmax(1), atol=1e-4, rtol=0
    )


@torch.inference_mode()
def test_another_runtime_computes_objects_too() -> None:
    model = objects_model()
    image = torch.randn(1, 3, 16, 16)
    found = convert_to_backend(model, "onnx").network(image)
    torch.testing.assert_close(found, model.network(image), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_without_objects_a_file_has_one_output_and_a_card_without_rules(tmp_path: Path) -> None:
    model = objects_model()
    write_onnx(tmp_path / "m.onnx", omit_objects(model))
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [output.name for output in session.get_outputs()] == ["probabilities"]
    read = load_onnx(tmp_path / "m.onnx")
    assert read.card.objects is None
    image = torch.randn(1, 3, 16, 16)
    assert read.network(image).shape[1] == len(LEGEND)
    assert omit_objects(tiny_model()).network(image).shape[1] == len(LEGEND)
