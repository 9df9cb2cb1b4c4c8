from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from geoseg.errors import ModelError
from geoseg.models.architectures import build
from geoseg.models.deeplab import DeepLab
from geoseg.models.encoder import Encoder
from geoseg.models.mobile_unet import MobileUNet
from geoseg.models.receptive_field import SpreadNaN, measure_context, replace_convolutions
from geoseg.models.unet import UNet
from geoseg.raster.tiles import round_up


@pytest.mark.parametrize(
    "network",
    [
        UNet(3, 5, width=4, depth=3),
        UNet(1, 2, width=2, depth=1, pool=2),
        MobileUNet(4, 6),
        DeepLab(3, 4, width=8),
        DeepLab(2, 4, width=8, pool=2, output_stride=32, image_pooling=True),
    ],
)
@torch.inference_mode()
def test_logits_have_the_size_of_the_input(network: nn.Module) -> None:
    stride = int(network.stride)  # type: ignore[arg-type]
    bands = next(network.parameters()).shape[1]
    classes = network.head.out_channels  # type: ignore[union-attr]
    logits = network.eval()(torch.zeros(2, bands, 2 * stride, 3 * stride))
    assert logits.shape == (2, classes, 2 * stride, 3 * stride)


class Context(nn.Module):
    """One convolution whose context is known."""

    stride = 1

    def __init__(self, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, kernel, dilation=dilation, padding=dilation * (kernel // 2))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(image)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("kernel", "dilation", "reach"), [(1, 1, 0), (3, 1, 1), (5, 3, 6)])
def test_the_context_of_a_convolution_is_half_its_kernel(
    kernel: int, dilation: int, reach: int
) -> None:
    assert measure_context(Context(kernel, dilation), bands=1, stride=16) == reach


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (1, 5), "padding": (0, 4), "dilation": (1, 2)},
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": 3, "groups": 4},
    ],
)
@torch.inference_mode()
def test_nan_spreads_as_in_a_convolution(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 4, **options).double()
    assert SpreadNaN.fits(convolution)
    image = torch.rand(2, 4, 9, 11, dtype=torch.float64)
    image[0, 1, 4, 5] = image[1, :, 0, 0] = torch.nan
    assert torch.equal(SpreadNaN(convolution)(image).isnan(), convolution(image).isnan())


def test_convolutions_that_pad_otherwise_or_have_other_groups_are_kept() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 1),
    )
    kinds = [type(module) for module in replace_convolutions(network).children()]
    assert kinds == [nn.Conv2d, nn.Conv2d, nn.Conv2d, SpreadNaN]


@torch.inference_mode()
def test_a_margin_that_covers_the_context_gives_the_logits_of_the_whole() -> None:
    torch.manual_seed(0)
    network = UNet(2, 3, width=4, depth=2).double().eval()
    reach = measure_context(network, bands=2, stride=4)
    assert reach is not None
    margin = round_up(reach, 4)
    scene = torch.rand(1, 2, 64, 160, dtype=torch.float64)
    whole = network(scene)
    for margins, agrees in ((margin, True), (margin - 4, False)):
        part = network(scene[..., 64 - margins : 96 + margins])
        same = torch.equal(part[..., margins : margins + 32], whole[..., 64:96])
        close = torch.allclose(part[..., margins : margins + 32], whole[..., 64:96], atol=1e-12)
        assert same or close if agrees else not close


def test_a_network_that_sees_everything_has_no_finite_context() -> None:
    class Global(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image + image.mean((2, 3), keepdim=True)

    assert measure_context(Global(), bands=1, stride=32) is None


@torch.inference_mode()
def test_an_encoder_that_keeps_its_resolution_sees_the_same_in_between() -> None:
    torch.manual_seed(0)
    coarse, fine = (Encoder(3, output_stride=stride).double().eval() for stride in (32, 16))
    weights = list(coarse.state_dict().values())
    fine.load_state_dict(dict(zip(fine.state_dict(), weights, strict=True)))
    image = torch.rand(1, 3, 32 * 22, 32 * 22, dtype=torch.float64)
    coarser, finer = coarse(image), fine(image)
    for one, other in zip(coarser[:-1], finer[:-1], strict=True):
        assert torch.equal(one, other)
    # pixel i of a convolution with stride 2 lies on pixel 2 i + 1 of one without; edges are padded otherwise
    between = finer[-1][..., 1::2, 1::2]
    assert between.shape == coarser[-1].shape
    torch.testing.assert_close(between[..., 10:12, 10:12], coarser[-1][..., 10:12, 10:12])


@pytest.mark.parametrize("network", [MobileUNet(3, 4, pool=1), DeepLab(3, 4, width=8)])
def test_inference_without_gradients_computes_the_same(network: nn.Module) -> None:
    torch.manual_seed(0)
    for module in network.eval().modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(
                module.bias
            )  # so that padding after the expansion is not that before it
    image = torch.randn(1, 3, 64, 96)
    expected = network(image).detach()
    with torch.inference_mode():
        assert torch.equal(network(image), expected)


@pytest.mark.slow
def test_deeplab_has_a_finite_context_unless_it_pools_the_whole_image() -> None:
    for pooling in (False, True):
        network = DeepLab(3, 2, width=4, rates=(1, 2), image_pooling=pooling)
        reach = measure_context(network, bands=3, stride=16)
        assert reach is None if pooling else reach is not None and 300 < reach < 700


@pytest.mark.slow
@torch.inference_mode()
def test_deeplabs_rates_widen_its_context_by_as_many_pixels_as_they_say() -> None:
    reaches = [
        measure_context(DeepLab(3, 2, width=4, rates=(r,)), bands=3, stride=16) for r in (4, 8)
    ]
    assert None not in reaches
    assert reaches[1] - reaches[0] == (8 - 4) * 16  # type: ignore[operator]


def test_a_deeplab_that_cannot_be_is_refused() -> None:
    with pytest.raises(ModelError, match="output_stride is 16 or 32"):
        build("deeplab", 3, 2, {"output_stride": 8})


def test_the_mobile_encoder_takes_only_weights_that_fit(tmp_path: Path) -> None:
    source, target = MobileUNet(3, 2).encoder, MobileUNet(3, 2).encoder
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    target.load_pretrained(tmp_path / "weights.pth")
    assert str(target.state_dict()) == str(source.state_dict())
    with pytest.raises(ModelError, match="not the weights of"):
        MobileUNet(4, 2).encoder.load_pretrained(tmp_path / "weights.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ModelError, match="not a file of"):
        target.load_pretrained(tmp_path / "text.pth")


def test_an_architecture_of_another_package_can_be_named_but_not_take_a_name_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> type[nn.Module]:
            return Theirs

    class Theirs(nn.Module):
        stride = 1

        def __init__(self, bands: int, classes: int, *, kernel: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(bands, classes, kernel)

    entries = {"geoseg.architectures": [Entry("theirs"), Entry("unet")]}
    monkeypatch.setattr(
        "geoseg.models.architectures.entry_points", lambda *, group: entries.get(group, [])
    )
    assert isinstance(build("theirs", 3, 2, {"kernel": 3}), Theirs)
    assert isinstance(build("unet", 3, 2, {"width": 4}), UNet)
    with pytest.raises(
        ModelError, match="Known: deeplab, mobile-unet, theirs, two-scale-unet, unet"
    ):
        build("thiers", 3, 2, {})


@pytest.mark.parametrize(
    ("name", "parameters", "why"),
    [
        ("unett", {}, "Known: deeplab, mobile-unet, two-scale-unet, unet"),
        ("unet", {"widht": 8}, "widht"),
        ("unet", {"width": -8}, "does not accept"),
    ],
)
def test_an_architecture_that_cannot_be_built_is_refused(
    name: str, parameters: dict[str, int], why: str
) -> None:
    with pytest.raises(ModelError, match=why):
        build(name, 3, 2, parameters)
