"""The network with two encoders: its shape, its arithmetic, and its start from a mobile U-Net."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from geoseg.errors import ConfigError
from geoseg.models.mobile_unet import MobileUNet
from geoseg.models.model_file import ModelCard, save_model
from geoseg.models.pretrained import load_pretrained
from geoseg.models.receptive_field import measure_context
from geoseg.models.two_scale_unet import TwoScaleUNet
from tests.scenes import LEGEND, card


def mobile_file(path: Path, *, bands: int = 3, pool: int = 2) -> tuple[MobileUNet, Path]:
    """A mobile U-Net whose normalizations are not the identity, and its model file."""
    torch.manual_seed(3)
    network = MobileUNet(bands, len(LEGEND), pool=pool).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.uniform_(-0.2, 0.2)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    made: ModelCard = replace(
        card(),
        architecture="mobile-unet",
        parameters={"pool": pool},
        stride=32 * pool,
        margin=64,
        bands=bands,
        mean=(100.0,) * bands,
        std=(50.0,) * bands,
    )
    save_model(path, network.state_dict(), made, half=False)
    return network, path


@pytest.mark.parametrize(("objects", "channels"), [(True, 6 + 2), (False, 6)])
@torch.inference_mode()
def test_classes_and_then_objects_have_the_size_of_the_input(objects: bool, channels: int) -> None:
    network = TwoScaleUNet(4, 6, objects=objects).eval()
    assert network(torch.zeros(2, 4, 64, 128)).shape == (2, channels, 64, 128)
    assert len(network.object_outputs) == channels - 6


@torch.inference_mode()
def test_a_new_network_hardly_predicts_objects() -> None:
    logits = TwoScaleUNet(3, 5).eval()(torch.randn(1, 3, 64, 64))
    assert float(logits[:, 5:].sigmoid().max()) < 0.1


@torch.inference_mode()
def test_a_megapixel_takes_at_most_40_gflop() -> None:
    with FlopCounterMode(display=False) as counter:
        TwoScaleUNet(3, 16).eval()(torch.zeros(1, 3, 256, 256))
    assert 30e9 < counter.get_total_flops() * 1e6 / 256**2 < 40e9


@pytest.mark.slow
def test_its_context_is_that_of_a_mobile_unet() -> None:
    contexts = {
        measure_context(network, bands=1, stride=64)
        for network in (TwoScaleUNet(1, 2), MobileUNet(1, 2, pool=2))
    }
    assert contexts == {961}


@torch.inference_mode()
def test_it_starts_with_the_class_logits_of_a_mobile_unet(tmp_path: Path) -> None:
    mobile, path = mobile_file(tmp_path / "mobile.safetensors")
    network = TwoScaleUNet(3, len(LEGEND))
    assert load_pretrained(network, str(path)) is not None
    image = torch.randn(1, 3, 128, 64)
    logits = network.eval()(image)[:, : len(LEGEND)]
    torch.testing.assert_close(logits, mobile(image), rtol=0, atol=1e-4)


@torch.inference_mode()
def test_other_bands_and_classes_cost_only_their_layers(tmp_path: Path) -> None:
    mobile, path = mobile_file(tmp_path / "mobile.safetensors")
    network = TwoScaleUNet(5, len(LEGEND) + 2)
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_pretrained(network, str(path))
    ours, theirs = network.state_dict(), mobile.state_dict()
    for name in ("encoder.stem.1.weight", "fine.stem.1.weight", "decoder.4.0.weight", "head.bias"):
        assert torch.equal(ours[name], fresh[name]), name
    for name in ("encoder.stages.6.0.layers.0.0.weight", "decoder.0.0.weight"):
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize(
    ("pool", "decoder", "why"),
    [(1, (96, 64, 48, 32, 32), "pool is 1"), (2, (96, 64, 48, 32, 16), "is wider")],
)
def test_a_mobile_unet_that_it_cannot_reproduce_is_refused(
    tmp_path: Path, pool: int, decoder: tuple[int, int, int, int, int], why: str
) -> None:
    _, path = mobile_file(tmp_path / "mobile.safetensors", pool=pool)
    with pytest.raises(ConfigError, match=why):
        load_pretrained(TwoScaleUNet(3, len(LEGEND), decoder=decoder), str(path))
