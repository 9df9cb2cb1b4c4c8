"""Weights to start from, taken over from another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from geoseg.errors import ConfigError, ModelError
from geoseg.legend import Legend
from geoseg.models.encoder import Encoder
from geoseg.models.model_file import load_model
from geoseg.models.pretrained import load_pretrained, select_classes
from geoseg.models.two_scale_unet import TwoScaleUNet
from geoseg.models.unet import UNet
from tests.scenes import LEGEND, model_file


def taken_over(path: Path, *, classes: int = len(LEGEND)) -> tuple[UNet, dict[str, Any] | None]:
    torch.manual_seed(1)
    network = UNet(3, classes, width=4, depth=2)
    return network, load_pretrained(network, str(path))


def test_a_model_is_taken_over_without_what_was_added_after_learning(tmp_path: Path) -> None:
    first, second = LEGEND.names[1], LEGEND.names[2]
    shifts = {"logit_shifts": {first: 0.75, second: -1.25}}  # the others were not shifted
    path = model_file(tmp_path / "shifted.safetensors", training=shifts)
    network, _ = taken_over(path)
    expected = {n: w.clone() for n, w in load_model(path).network.state_dict().items()}
    expected["head.bias"][1] -= 0.75
    expected["head.bias"][2] += 1.25
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, expected[name]), name


def test_without_shifts_it_is_taken_over_as_it_is(tmp_path: Path) -> None:
    path = model_file(tmp_path / "plain.safetensors")
    network, _ = taken_over(path)
    for name, weight in load_model(path).network.state_dict().items():
        assert torch.equal(weight, network.state_dict()[name]), name


def test_other_classes_cost_only_the_head(tmp_path: Path) -> None:
    shifts = {"logit_shifts": dict.fromkeys(LEGEND.names, 1.0)}
    path = model_file(tmp_path / "m.safetensors", training=shifts)
    network, _ = taken_over(path, classes=2)
    fresh = UNet(3, 2, width=4, depth=2).state_dict()
    theirs = load_model(path).network.state_dict()
    for name, weight in network.state_dict().items():
        if name.startswith("head."):
            assert weight.shape == fresh[name].shape
        else:
            assert torch.equal(weight, theirs[name]), name


def test_what_it_says_of_itself_is_passed_on_with_what_came_before_it(tmp_path: Path) -> None:
    training = {
        "name": "second",
        "terms": "for research only",
        "steps": 9,
        "configuration": {"data": {}},
        "ancestor": {"name": "first"},
    }
    path = model_file(tmp_path / "m.safetensors", training=training)
    _, ancestor = taken_over(path)
    assert ancestor == {
        "name": "second",
        "terms": "for research only",
        "steps": 9,
        "ancestor": {"name": "first"},
        "sha256": load_model(path).sha256,
    }


def test_what_does_not_fit_or_is_none_is_refused(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.safetensors")
    with pytest.raises(ConfigError, match="weights fit"):
        load_pretrained(UNet(3, len(LEGEND), width=8, depth=2), str(path))
    strange = model_file(tmp_path / "strange.safetensors", training={"logit_shifts": ["?"]})
    with pytest.raises(ModelError, match=r"strange.*logit_shifts"):
        taken_over(strange)
    with pytest.raises(ModelError, match="nowhere"):
        load_pretrained(UNet(3, 2, width=4, depth=2), str(tmp_path / "nowhere.safetensors"))


def test_encoder_weights_go_into_both_encoders_of_a_two_scale_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(encoder: Encoder, _: Path) -> None:
        for tensor in encoder.state_dict().values():
            tensor.fill_(3)

    monkeypatch.setattr(Encoder, "load_pretrained", fill)
    (tmp_path / "weights.bin").write_bytes(b"weights")
    network = TwoScaleUNet(3, 4)
    assert load_pretrained(network, str(tmp_path / "weights.bin")) is None
    filled = {n for n, t in network.state_dict().items() if t.numel() and bool((t == 3).all())}
    assert filled >= {n for n in network.state_dict() if n.startswith(("encoder.", "fine."))}


def test_classes_take_the_weights_of_their_names_and_new_ones_those_of_the_background(
    tmp_path: Path,
) -> None:
    path = model_file(tmp_path / "m.safetensors")
    names = LEGEND.names
    ours = Legend.of({names[2]: "#ff0000", "shed": "#00ff00", names[1]: "#0000ff"})
    network = UNet(3, len(ours), width=4, depth=2)
    load_pretrained(network, str(path), legend=ours)
    theirs = load_model(path).network.state_dict()
    assert torch.equal(network.head.weight, theirs["head.weight"][[0, 2, 0, 1]])
    bias = theirs["head.bias"][[0, 2, 0, 1]] + torch.tensor([0, 0, -1, 0])
    assert torch.equal(network.head.bias, bias)  # type: ignore[arg-type]


def test_object_outputs_survive_another_number_of_classes() -> None:
    torch.manual_seed(0)
    theirs = Legend.of({"plane": "#ff0000", "ship": "#00ff00", "shed": "#0000ff"})
    ours = Legend.of({"ship": "#00ff00", "roof": "#0000ff"})
    before = TwoScaleUNet(3, len(theirs)).eval()
    for parameter in before.subpixel.parameters():
        parameter.data.normal_()
    weights = select_classes(before.state_dict(), theirs, ours)
    after = TwoScaleUNet(3, len(ours)).eval()
    after.load_state_dict(weights)
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected, got = before(image), after(image)
    kept = expected[:, [0, 2, 4, 5]]  # background, ship, interior and touching
    torch.testing.assert_close(got[:, [0, 1, 3, 4]], kept)
    torch.testing.assert_close(got[:, 2], expected[:, 0] - 1)  # roof: below the background


def test_the_same_names_in_the_same_order_keep_all_weights(tmp_path: Path) -> None:
    weights = load_model(model_file(tmp_path / "m.safetensors")).network.state_dict()
    assert select_classes(weights, LEGEND, LEGEND) == weights
