import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import experiments
from benchmarks.experiments import limit_steps, main, step_flops
from benchmarks.experiments_page import format_page
from geoseg.errors import ConfigError
from geoseg.models.architectures import build
from geoseg.tools.train import train
from geoseg.training.config import parse_config
from tests.synthetic_dataset import dataset

BASE = """# The plain one.
[data]
window = 64
balanced = 0.0
[network]
architecture = "unet"
parameters = { width = 4, depth = 1 }
[loss]
weights = "none"
logit_adjustment_windows = 0
[training]
batch_size = 2
warmup = 1
"""


def count_flops(network: nn.Module, images: Tensor) -> int:
    """Count two FLOPs per weight of a convolution and position."""
    total = 0

    def add(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        places = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        total += 2 * layer.weight.numel() * places.shape[2] * places.shape[3] * len(output)

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(add)
    network(images)
    return total


@pytest.mark.parametrize(
    ("architecture", "parameters"), [("unet", {"width": 4, "depth": 2}), ("mobile-unet", {})]
)
def test_flops_of_a_step_are_three_times_those_of_the_convolutions(
    architecture: str, parameters: dict[str, int]
) -> None:
    config = parse_config(
        {
            "data": {"window": 64},
            "network": {"architecture": architecture, "parameters": parameters},
            "training": {"batch_size": 3, "accumulate": 2},
        },
        "test",
    )
    expected = 3 * count_flops(build(architecture, 3, 5, parameters), torch.zeros(6, 3, 64, 64))
    assert step_flops(config, 3, 5) == expected


def test_a_budget_determines_the_number_of_steps() -> None:
    config = parse_config({}, "test")
    assert limit_steps(config, 10**9, 0.1).training.steps == 100
    assert limit_steps(config, 10**10, 0.1).training.steps == 10
    with pytest.raises(ConfigError, match="Raise the budget"):
        limit_steps(config, 10**12, 0.1)


def test_every_row_has_its_configuration() -> None:
    there = {path.stem for path in experiments.CONFIGS.glob("*.toml")}
    assert set(experiments.ROWS) == there


@pytest.mark.slow
def test_rows_run_once_resume_and_are_written_to_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, configs = dataset(tmp_path / "drawn", scenes=1), tmp_path / "configs"
    configs.mkdir()
    (configs / "baseline.toml").write_text(BASE)
    (configs / "full.toml").write_text(
        '# All of it.\nextends = "baseline.toml"\n[data]\nbalanced = 1.0\n[loss]\nweights = "sqrt"\n'
    )
    folder, written = tmp_path / "runs", tmp_path / "experiments.md"
    words = [str(drawn), "--rows", "baseline", "full", "--budget", "0.001", "--seeds", "1"]
    words += ["--configs", str(configs), "--folder", str(folder), "--page", str(written)]
    trained: list[str] = []

    def counted(config: Any, model: Path, **settings: Any) -> Any:
        trained.append(model.stem.split("-")[0])
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(config, model, **settings)

    monkeypatch.setattr("benchmarks.experiments.train", counted)
    with pytest.raises(KeyboardInterrupt):
        main(words)
    assert "| baseline | The plain one. |" in written.read_text()
    main(words)
    main(words)
    assert trained == ["baseline", "full", "full"]
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["baseline", "full"]
    for row in rows:
        assert row["steps"] >= 3
        assert row["tflop"] == pytest.approx(0.001, rel=0.3)
        assert row["scores"]["quads"]["classes"]["plane"]["pixels"] > 0
    assert "| full | All of it. |" in written.read_text()
    main([*words, "--set", "augment.hue=0.1"])  # other rows: another page
    assert trained == ["baseline", "full", "full", "baseline", "full"]
    assert len((folder / "results.jsonl").read_text().splitlines()) == 4
    assert "--set 'augment.hue=0.1'" in written.read_text()


def scored(name: str, seed: int, miou: float) -> dict[str, Any]:
    classes = {
        "background": {"iou": 0.9, "pixels": 100},
        "plane": {"iou": 2 * miou, "pixels": 10},
        "helicopter": {"iou": 0.0, "pixels": 1},
    }
    truth = {"miou": miou, "scenes": 283, "classes": classes}
    return {
        **{
            "name": name,
            "seed": seed,
            "about": name,
            "budget": 3.0,
            "settings": [],
            "steps": 9,
            "seconds": 90,
            "threads": 2,
        },
        "scores": {"outlines": truth},
    }


def test_every_relative_gain_has_its_absolute_score() -> None:
    rows = [scored("baseline", 0, 0.03), scored("baseline", 1, 0.05), scored("full", 0, 0.12)]
    text = format_page([*rows, scored("loss-focal", 0, 0.02), scored("logit-adjustment", 0, 0.045)])
    assert "baseline → full recipe 4.0 % → 12.0 % mIoU (+200 %); goal +180 %: reached" in text
    assert "below all seeds of the baseline on outlines: loss-focal\n" in text
    assert "within the range of the baseline seeds: logit-adjustment\n" in text
    assert "| full | full | 12.00 | 24.0 | +200 % | 0 | 9 | 1.5 |" in text
    assert "| baseline | baseline | 4.00 ± 1.00 | 8.0 | – | 0, 1 | 9 | 1.5 |" in text
    assert "| row | plane | helicopter |" in text
    assert "| full | 24.0 | 0.0 |" in text
    assert "left out" not in text.split("\n## ", 1)[1]


def test_a_row_without_a_measure_is_compared_with_the_full_recipe() -> None:
    rows = [scored("baseline", 0, 0.01), scored("full", 0, 0.12), scored("without-dice", 0, 0.15)]
    text = format_page([*rows, scored("without-copy-paste", 0, 0.09)])
    assert "above all seeds of the full recipe on outlines: without-dice\n" in text
    assert "within the range of the full recipe seeds: none\n" in text
    alone, left_out = text.split("## One measure left out")
    assert "without-" not in alone.split("## ")[1]
    assert "| without-dice | without-dice | 15.00 | 30.0 | +25 % |" in left_out
    assert "| without-copy-paste | without-copy-paste | 9.00 | 18.0 | -25 % |" in left_out


def test_a_baseline_with_a_score_of_zero_has_no_relative_gain() -> None:
    text = format_page([scored("baseline", 0, 0.0), scored("full", 0, 0.12)])
    assert "0.0 % → 12.0 % mIoU (–)" in text
