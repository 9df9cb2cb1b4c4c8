"""Content that is collected for the report of an evaluation."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from geoseg.annotations.burn import burn
from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError, OutputError
from geoseg.models.model_file import ModelCard, load_model, save_model
from geoseg.models.unet import UNet
from geoseg.options import PolygonOptions, ScoringOptions
from geoseg.report.evaluation import describe_scoring, read_log
from tests.calls import evaluate
from tests.scenes import write_scene
from tests.synthetic_dataset import dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def labels(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of the validation scenes: correct, but empty in the last."""
    folder, opened = tmp_path_factory.mktemp("labels"), Dataset.open(drawn)
    for scene in opened.split("val"):
        truth = burn(opened.annotations()[scene.name], scene.height, scene.width)
        if scene.name == "val2":
            truth[:] = 0
        write_scene(folder / f"{scene.name}.tif", truth[None], nodata=255)
    return folder


def page_data(page: Path) -> dict[str, Any]:
    """Return the data of a page."""
    found = re.search(r'id="data">(.*?)</script', page.read_text("utf-8"), re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_labels_on_disk_get_a_report_with_their_best_and_worst_scene(
    drawn: Path, labels: Path, tmp_path: Path
) -> None:
    (made,) = evaluate(drawn, labels=labels, report=tmp_path / "report.html")
    page = page_data(tmp_path / "report.html")
    (one,) = page["evaluations"]
    assert one["miou"] == made.to_json()["miou"]
    ranks = {scene["rank"]: scene["name"] for scene in page["scenes"]}
    assert ranks["worst"] == "val2"
    assert len(page["scenes"]) == 3
    assert page["provenance"][0] == ["Labels", [["folder", labels.name]]]
    assert page["card"] is None
    counts = Dataset.open(drawn).layers["quads"].splits["val"]
    assert page["counts"]["quads"]["pixels"] == counts.pixels
    assert page["counts"]["quads"]["objects"]["plane"] == 3


def test_the_command_prints_the_path_of_the_report_which_has_its_provenance(
    drawn: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    legend = Dataset.open(drawn).legend
    torch.manual_seed(0)
    network = UNet(3, len(legend), width=4, depth=2)
    card = ModelCard(
        architecture="unet",
        parameters={"width": 4, "depth": 2},
        legend=legend,
        bands=3,
        dtype="uint8",
        mean=(100.0, 100.0, 100.0),
        std=(50.0, 50.0, 50.0),
        stride=4,
        margin=32,
        training={
            "terms": "research only",
            "failures": ["Bridges are missed.", "So are ships."],
            "ancestor": {"name": "older", "steps": 9, "ancestor": {"name": "oldest"}},
        },
    )
    model = save_model(tmp_path / "m.safetensors", network.state_dict(), card, half=False)
    lines = [
        {"step": k, "loss": float("nan") if k == 4 else 1 / k, "miou": 0.1 if k % 2 else None}
        for k in range(1, 5)
    ]
    (tmp_path / "m.log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = tmp_path / "report.html"
    command = ["evaluate", str(drawn), "-m", str(model), "--report", str(output)]
    kept = ["--keep", str(tmp_path / "kept"), "--progress", "none"]
    monkeypatch.setattr("sys.argv", ["/anywhere/geoseg", *command, *kept])
    assert boundary.run(geoseg) == 0
    assert capsys.readouterr().out.endswith(f"\n{output}\n")
    page = page_data(output)
    facts = {title: dict(lines) for title, lines in page["provenance"]}
    assert facts["Model"]["sha256"] == load_model(model).sha256
    assert facts["Model"]["terms of the data"] == "research only"
    assert facts["Model"]["known failures"] == "Bridges are missed. So are ships."
    assert facts["Model"]["fine-tuned from"] == "older (9 steps); before that, oldest (? steps)"
    assert facts["Run"]["geoseg"]
    assert facts["Run"]["command"] == shlex.join(["geoseg", *command, *kept])
    assert page["card"]["architecture"] == "unet"
    assert [line["loss"] for line in page["learning"]] == [1, 1 / 2, 1 / 3, None]
    assert {scene["name"] for scene in page["scenes"]} <= {"val0", "val1", "val2"}
    assert boundary.run(geoseg, [*command, "--progress", "none"]) == 4  # exists


@pytest.mark.parametrize("text", ["no json", "[1, 2]", '{"step": 1}', '{"step": "x", "loss": 1}'])
def test_an_invalid_training_log_is_reported_and_no_curve_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (tmp_path / "m.log.jsonl").write_text(text)
    assert read_log(tmp_path / "m.safetensors") == []
    assert "no learning curve" in caplog.text


def test_an_invalid_report_path_is_refused_before_the_work(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.html"):
        evaluate(drawn, labels=tmp_path, report=tmp_path / "report.pdf")
    with pytest.raises(OutputError, match="folder does not exist"):
        evaluate(drawn, labels=tmp_path, report=tmp_path / "nowhere" / "report.html")


def test_scoring_options_are_listed() -> None:
    scoring = ScoringOptions(match=0.75, cleaning=PolygonOptions(min_pixels=20, split="necks"))
    intervals = {"level": 0.95, "resamples": 1000}
    facts = dict(describe_scoring(scoring, {"intervals": intervals})[1])
    assert (
        facts["objects"]
        == "polygons, matched at an IoU of at least 0.75; min pixels 20; split necks"
    )
