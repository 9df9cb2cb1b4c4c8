"""Initial weights for other bands than those of the trained network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from geoseg.models.deeplab import DeepLab
from geoseg.models.encoder import Encoder
from geoseg.models.input_bands import adapt_bands, find_image_inputs, mix_bands
from geoseg.models.mobile_unet import MobileUNet
from geoseg.models.model_file import load_model
from geoseg.models.pretrained import load_pretrained
from geoseg.models.two_scale_unet import TwoScaleUNet
from geoseg.models.unet import UNet
from geoseg.raster.bands import RGB
from tests.scenes import LEGEND, model_file

Architecture = Callable[[int], nn.Module]

ARCHITECTURES: dict[str, Architecture] = {
    "unet": lambda bands: UNet(bands, 3, width=4, depth=2),
    "mobile-unet": lambda bands: MobileUNet(bands, 3),
    "two-scale-unet": lambda bands: TwoScaleUNet(bands, 3),
    "deeplab": lambda bands: DeepLab(bands, 3, width=16),
}
NAMES = st.sampled_from([*RGB, "nir", "swir1", "coastal", ""])


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def build(request: pytest.FixtureRequest) -> Architecture:
    return ARCHITECTURES[request.param]


def compute_logits(network: nn.Module, image: Tensor) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = network.eval()(image)
    return logits


def adapted(
    build: Architecture, trained: nn.Module, target: Sequence[str], source: Sequence[str] = RGB
) -> nn.Module:
    network = build(len(target))
    network.load_state_dict(adapt_bands(trained, trained.state_dict(), source, target))
    return network


def noise(bands: int) -> Tensor:
    return torch.randn((1, bands, 64, 128), generator=torch.Generator().manual_seed(1))


def test_a_grey_scene_gives_the_logits_of_three_equal_bands(build: Architecture) -> None:
    torch.manual_seed(0)
    trained, grey = build(3), noise(1)
    expected = compute_logits(trained, grey.expand(-1, 3, -1, -1))
    for name in ("", "pan", "red"):
        found = compute_logits(adapted(build, trained, (name,)), grey)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_bands_in_another_order_give_the_same_logits(build: Architecture) -> None:
    torch.manual_seed(0)
    trained, image = build(3), noise(3)
    network = adapted(build, trained, ("blue", "red", "green"))
    found = compute_logits(network, image[:, [2, 0, 1]])
    torch.testing.assert_close(found, compute_logits(trained, image), rtol=1e-4, atol=1e-4)


def test_with_a_near_infrared_band_equal_bands_keep_their_logits(build: Architecture) -> None:
    torch.manual_seed(0)
    trained, grey = build(3), noise(1)
    network = adapted(build, trained, (*RGB, "nir"))
    found = compute_logits(network, grey.expand(-1, 4, -1, -1))
    expected = compute_logits(trained, grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_every_image_input_is_a_kernel_that_grows_with_the_bands(build: Architecture) -> None:
    few, many = build(3).state_dict(), build(5).state_dict()
    changed = {name for name in few if few[name].shape != many[name].shape}
    inputs = find_image_inputs(build(3))
    assert changed == {image.weight for image in inputs}
    for image in inputs:
        growth = many[image.weight].shape[1] - few[image.weight].shape[1]
        assert growth == 2 * image.phases


@given(st.lists(NAMES, min_size=1, max_size=13), st.lists(NAMES, min_size=1, max_size=13))
def test_filters_are_mixed_with_weights_that_add_up_to_the_trained_bands(
    source: list[str], target: list[str]
) -> None:
    mixed = mix_bands(source, target)
    assert mixed.shape == (len(target), len(source))
    assert bool((mixed >= 0).all())
    assert float(mixed.sum()) == pytest.approx(len(source), rel=1e-5)
    rows = mixed.sum(1)
    assert rows.tolist() == pytest.approx([len(source) / len(target)] * len(target), rel=1e-5)


def test_bands_without_names_begin_with_red_green_blue() -> None:
    assert torch.equal(mix_bands(RGB, ("", "", "")), torch.eye(3))
    unnamed, named = mix_bands(RGB, ("",) * 5), mix_bands(RGB, (*RGB, "nir", "swir1"))
    assert torch.equal(unnamed, named)
    assert torch.equal(mix_bands(RGB, ("nir", "", "")), torch.full((3, 3), 1 / 3))


def test_a_model_file_starts_a_network_of_other_bands(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.safetensors")
    network = UNet(4, len(LEGEND), width=4, depth=2)
    assert load_pretrained(network, str(path), band_names=("nir", "blue", "green", "red"))
    theirs = load_model(path).network.state_dict()
    for name, weight in network.state_dict().items():
        if name != "encoder.0.0.weight":
            assert torch.equal(weight, theirs[name]), name
    kernel, rgb = network.state_dict()["encoder.0.0.weight"], theirs["encoder.0.0.weight"]
    torch.testing.assert_close(kernel[:, 1:], rgb.flip(1) * 3 / 4)
    torch.testing.assert_close(kernel[:, 0], rgb.mean(1) * 3 / 4)


def test_the_names_of_the_model_decide_which_filter_a_band_takes(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.safetensors", band_names=("nir", "red", "green"))
    network = UNet(3, len(LEGEND), width=4, depth=2)
    load_pretrained(network, str(path), band_names=("red", "green", "nir"))
    theirs = load_model(path).network.state_dict()["encoder.0.0.weight"]
    assert torch.equal(network.state_dict()["encoder.0.0.weight"], theirs[:, [1, 2, 0]])


def test_a_two_scale_network_of_other_bands_starts_as_a_mobile_network_of_three(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    published = Encoder(3).state_dict()
    monkeypatch.setattr(Encoder, "load_pretrained", lambda own, _: own.load_state_dict(published))
    (tmp_path / "weights.bin").write_bytes(b"weights")
    network = TwoScaleUNet(1, 3)
    assert load_pretrained(network, str(tmp_path / "weights.bin"), band_names=("",)) is None
    for encoder in (network.encoder, network.fine):
        kernel = encoder.state_dict()["stem.1.weight"]
        torch.testing.assert_close(kernel, published["stem.1.weight"].sum(1, keepdim=True))
