"""A checkpoint of the object trainer as a model file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmarks.objects.export import load_weights, make_card, read_checkpoint, read_hours
from geoseg.legend import DOTA_V1
from geoseg.models.model_file import load_model, save_model
from geoseg.models.two_scale_unet import TwoScaleUNet
from geoseg.polygons.object_rules import default_rules
from geoseg.training.config import parse_config

CONFIG = parse_config(
    {"network": {"architecture": "two-scale-unet", "mean": [9.0] * 3, "std": [8.0] * 3}}, "test"
)


@torch.inference_mode()
def test_a_model_file_computes_the_first_outputs_of_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = TwoScaleUNet(3, len(DOTA_V1)).eval()
    trained.subpixel = nn.Conv2d(48, 4 * (len(DOTA_V1) + 3), 1)  # three object outputs
    half = {n: w.half() for n, w in trained.state_dict().items() if w.is_floating_point()}
    save_file(half, tmp_path / "checkpoint.safetensors", {"step": "7"})
    weights, steps = read_checkpoint(tmp_path / "checkpoint.safetensors")
    network = TwoScaleUNet(3, len(DOTA_V1))
    load_weights(network, weights)
    monkeypatch.setattr("benchmarks.objects.export.measure_context", lambda *_, **__: 961)
    card = make_card(network, CONFIG, {"steps": steps}, default_rules(len(DOTA_V1)))
    model = load_model(save_model(tmp_path / "m.safetensors", network.state_dict(), card))
    assert (model.card.training, model.card.objects) == ({"steps": 7}, card.objects)
    trained.load_state_dict({**trained.state_dict(), **weights})
    trained.object_outputs = ("interior", "touching", "distance")  # type: ignore[assignment]
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(model.network(image), trained(image)[:, : len(DOTA_V1) + 2])


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="not a checkpoint"):
        load_weights(TwoScaleUNet(3, 4), {"head.bias": torch.zeros(4)})


def test_the_hours_of_a_log_are_those_of_all_its_runs(tmp_path: Path) -> None:
    lines = [{"seconds": seconds} for seconds in (900, 1800, 600, 1800)]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert read_hours(tmp_path / "log.jsonl") == 1.0
