import csv
import json
import logging
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from geoseg.cli import boundary, geoseg
from geoseg.errors import ConfigError, DatasetError, ModelError, OutputError
from geoseg.metrics.confusion import Scores
from geoseg.models.model_file import load_model
from geoseg.progress import Text
from geoseg.report.tables import format_scores
from geoseg.tools.train import default_workers, defer_interrupt
from geoseg.training.checkpoint import Checkpoint
from geoseg.training.config import RENAMED_KEYS, TrainConfig, parse_config
from geoseg.training.run import TrainingRun
from geoseg.training.validation import WindowScores
from tests.calls import evaluate, train
from tests.processes import HANG, at_checkpoint, wait_until
from tests.synthetic_dataset import dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("drawn"))


def learning(drawn: Path, **training: object) -> dict[str, Any]:
    return {
        "data": {"dataset": str(drawn), "window": 64},
        "network": {"architecture": "unet", "parameters": {"width": 8, "depth": 2}},
        "loss": {"weights": "sqrt", "cap": 0.0},
        "training": {
            "steps": 12,
            "batch_size": 4,
            "learning_rate": 0.01,
            "warmup": 2,
            "ema": 0.9,
            "validate_every": 4,
            "validation_windows": 6,
            "checkpoint_every": 3,
            **training,
        },
    }


def config(drawn: Path, **training: object) -> TrainConfig:
    return parse_config(learning(drawn, **training), "test")


def weights(path: Path) -> dict[str, bytes]:
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118


def stop_after(steps: int):  # type: ignore[no-untyped-def]
    """A tracker that loses patience, like somebody with a finger on Ctrl-C."""

    def track(items, /, text: Text = "", total: int | None = None):  # type: ignore[no-untyped-def]
        for number, item in enumerate(items):
            yield item
            if number + 1 == steps:
                raise KeyboardInterrupt

    return track


def test_a_run_that_was_stopped_and_resumed_ends_in_the_same_bytes(
    drawn: Path, tmp_path: Path
) -> None:
    whole = train(config(drawn), tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(config(drawn), tmp_path / "m.safetensors", track=stop_after(5))
    assert not (tmp_path / "m.safetensors").exists()
    assert (tmp_path / "m.checkpoint.safetensors").exists()
    resumed = train(config(drawn), tmp_path / "m.safetensors", resume=True)
    assert weights(resumed.model) == weights(whole.model)
    assert resumed.miou == whole.miou
    steps = [json.loads(line)["step"] for line in resumed.log.read_text().splitlines()]
    assert steps == [4, 8, 10, 12]
    with (tmp_path / "m.log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == steps
    assert [row["miou"] != "" for row in rows] == [True, True, False, True]
    assert rows[-1]["iou plane"] != ""
    assert rows[-1]["iou bridge"] == ""  # does not occur
    assert not (tmp_path / "m.checkpoint.safetensors").exists()


@pytest.mark.parametrize("from_model", [True, False])
def test_distillation_and_interpolation_apply_to_a_start_from_a_model_only(
    from_model: bool, drawn: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    values = learning(drawn, steps=2, interpolation=[0.5, 1.0])
    values["data"]["unlabelled"] = 0.5
    values["loss"]["distillation"] = 1.0
    if from_model:
        start = train(config(drawn, steps=1), tmp_path / "start.safetensors")
        values["network"]["pretrained"] = str(start.model)
    run = TrainingRun(parse_config(values, "test"), "cpu")
    assert (run.trainer._distillation is not None) == from_model
    run.close()
    train(parse_config(values, "test"), tmp_path / "m.safetensors")
    assert ("by the weight of the trained model" in caplog.text) == from_model


def test_a_stop_file_ends_the_run_after_the_step_with_the_best_model(
    drawn: Path, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"

    def track(items, /, text: Text = "", total: int | None = None):  # type: ignore[no-untyped-def]
        for number, item in enumerate(items):
            if number == 5:
                stop.touch()
            yield item

    made = train(config(drawn), tmp_path / "m.safetensors", stop_file=stop, track=track)
    assert load_model(made.model).card.training["steps"] == 6
    assert [json.loads(line)["step"] for line in made.log.read_text().splitlines()] == [4, 6]
    assert not (tmp_path / "m.checkpoint.safetensors").exists()


@pytest.mark.slow
def test_workers_and_threads_make_the_same_model(drawn: Path, tmp_path: Path) -> None:
    by_threads = train(config(drawn), tmp_path / "threads.safetensors", threads=3)
    with pytest.raises(KeyboardInterrupt):
        train(config(drawn), tmp_path / "w.safetensors", workers=2, track=stop_after(5))
    by_workers = train(config(drawn), tmp_path / "w.safetensors", resume=True, workers=1)
    assert weights(by_workers.model) == weights(by_threads.model)


def test_workers_read_for_a_gpu_as_many_as_its_process_has_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules["geoseg.tools.train"], "choose_device", lambda name: name)
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    assert default_workers("cpu") == 0
    assert default_workers("cuda") == 12
    assert default_workers("cuda", threads=3) == 0
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert default_workers("cuda") == 3
    monkeypatch.setattr("os.cpu_count", lambda: 128)
    assert default_workers("cuda") == 16


def test_threads_and_workers_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text("")
    words = ["train", str(tmp_path / "c.toml"), "-o", str(tmp_path / "m.safetensors")]
    assert boundary.run(geoseg, [*words, "--threads", "2", "--workers", "2"]) == 2
    assert "--threads and --workers" in capsys.readouterr().err


def test_what_comes_after_learning_may_change_when_a_run_goes_on(
    drawn: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(config(drawn), tmp_path / "m.safetensors", track=stop_after(5))
    values = learning(drawn)
    values["loss"]["logit_adjustment_windows"] = 0
    resumed = train(parse_config(values, "test"), tmp_path / "m.safetensors", resume=True)
    assert not load_model(resumed.model).card.training["logit_shifts"]


@pytest.mark.slow
def test_a_run_that_is_stopped_in_the_middle_of_a_step_keeps_its_last_whole_state(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(config(drawn), tmp_path / "whole.safetensors")

    def impatient(_run: TrainingRun) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "validate", impatient)
        with pytest.raises(KeyboardInterrupt):
            train(config(drawn), tmp_path / "m.safetensors")
    resumed = train(config(drawn), tmp_path / "m.safetensors", resume=True)
    assert weights(resumed.model) == weights(whole.model)


def test_an_interrupt_in_a_step_ends_the_run_after_it_with_a_checkpoint(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TrainingRun.train_step

    def interrupted(run: TrainingRun, *given: Any, **named: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        step(run, *given, **named)

    monkeypatch.setattr(TrainingRun, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config(drawn), tmp_path / "m.safetensors")
    assert Checkpoint.load(tmp_path / "m.checkpoint.safetensors").step == 1


def test_a_second_interrupt_ends_a_block_at_once() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), defer_interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(1)
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(2)
    assert reached == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupted_run_is_not_thrown_away_unasked(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(config(drawn), tmp_path / "m.safetensors", track=stop_after(1))
    with pytest.raises(OutputError, match="--resume"):
        train(config(drawn), tmp_path / "m.safetensors")


def test_a_checkpoint_of_another_run_is_refused_by_what_differs(
    drawn: Path, tmp_path: Path
) -> None:
    output = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(config(drawn), output, track=stop_after(1))
    with pytest.raises(ConfigError, match=r"training\.learning_rate: 0\.01 → 0\.02"):
        train(config(drawn, learning_rate=0.02), output, resume=True)


def test_a_run_may_go_on_for_longer_than_it_was_to(
    drawn: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    output = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(config(drawn), output, track=stop_after(1))
    longer = TrainingRun(config(drawn, steps=99), "cpu")
    longer.restore(output.with_suffix(".checkpoint.safetensors"))
    assert longer.trainer.step == 1
    assert "resuming with training.steps: 12 → 99" in caplog.text


@pytest.mark.slow
def test_a_checkpoint_that_is_older_than_a_switch_is_gone_on_from_while_that_is_off(
    drawn: Path, tmp_path: Path
) -> None:
    output, file = tmp_path / "m.safetensors", tmp_path / "m.checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(config(drawn), output, track=stop_after(3))
    now = Checkpoint.load(file)
    configuration = {**now.facts["configuration"]}
    del configuration["processes"]
    configuration["loss"] = {k: v for k, v in configuration["loss"].items() if k != "dice"}
    old = {k: v for k, v in now.facts.items() if k != "stale"} | {"configuration": configuration}
    Checkpoint(now.step, now.tensors, old).save(file)
    values = config(drawn).model_dump(exclude_none=True)
    values["loss"]["dice"] = 1.0
    with pytest.raises(ConfigError, match=r"loss\.dice: 0\.0 → 1\.0"):
        train(parse_config(values, "test"), output, resume=True)
    resumed = train(config(drawn), output, resume=True)
    whole = train(config(drawn), tmp_path / "whole.safetensors")
    assert weights(resumed.model) == weights(whole.model)


def test_a_checkpoint_with_the_former_names_of_keys_is_resumed(drawn: Path, tmp_path: Path) -> None:
    output, file = tmp_path / "m.safetensors", tmp_path / "m.checkpoint.safetensors"
    values = learning(drawn, steps=4)
    values["augment"] = {"copy_paste": 0.5, "copy_paste_objects": 2, "rotate90": False}
    whole = train(parse_config(values, "test"), tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(parse_config(values, "test"), output, track=stop_after(3))
    now = Checkpoint.load(file)
    configuration = now.facts["configuration"]
    for old, new in RENAMED_KEYS.items():
        (section, old_key), (_, new_key) = old.split("."), new.split(".")
        configuration[section][old_key] = configuration[section].pop(new_key)
    Checkpoint(now.step, now.tensors, {**now.facts, "configuration": configuration}).save(file)
    resumed = train(parse_config(values, "test"), output, resume=True)
    assert weights(resumed.model) == weights(whole.model)


def test_training_as_a_library_leaves_the_allocator_of_the_process_alone(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr("geoseg.cli.process.ctypes", SimpleNamespace(CDLL=opened.append))
    before = dict(os.environ)
    train(config(drawn, steps=1, validation_windows=1), tmp_path / "m.safetensors", device="cpu")
    assert not opened  # the C library, for mallopt
    assert dict(os.environ) == before


def test_resuming_without_a_checkpoint_is_an_error(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="checkpoint"):
        train(config(drawn), tmp_path / "m.safetensors", resume=True)


def test_a_model_learns_to_tell_plain_colours_apart(drawn: Path, tmp_path: Path) -> None:
    made = train(config(drawn, steps=40, ema=0.8), tmp_path / "m.safetensors")
    model = load_model(made.model)
    assert model.card.stride == 4
    assert model.card.context is not None
    assert model.card.margin >= model.card.context
    assert model.card.pixel_size_m == (0.5, 0.5)
    assert made.curves.read_bytes().startswith(b"\x89PNG")
    (evaluation,) = evaluate(drawn, model=made.model, json=tmp_path / "scores.json", write=True)
    written = load_model(made.model)
    assert written.sha256 == model.sha256
    assert written.card.training == model.card.training
    assert written.card.scores["val, quads"]["miou"] == round(evaluation.scores.mean_iou(), 4)
    assert evaluation.scores.mean_iou() > 0.7
    assert json.loads((tmp_path / "scores.json").read_text())[0]["miou"] > 0.7
    table = format_scores(evaluation)
    assert table.count("\n") == 2 + 16 + 1
    assert "| plane  " in table
    assert evaluation.scores.matrix.sum() == 3 * 160 * 160  # every pixel counts once


@pytest.mark.slow
def test_a_run_can_go_on_from_another_model(
    drawn: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    terms = {"name": "first", "terms": "for research only"}
    first = train(
        parse_config(learning(drawn) | {"card": terms}, "test"), tmp_path / "a.safetensors"
    )
    values = learning(drawn, steps=1, learning_rate=1e-9)
    values["network"]["pretrained"] = str(first.model)
    values["loss"]["logit_adjustment_windows"] = 0
    values["card"] = {"pixel_size_m": [5.0, 6.0]}
    second = train(parse_config(values, "test"), tmp_path / "b.safetensors")
    before, after = load_model(first.model), load_model(second.model)
    shifts = before.card.training["logit_shifts"]
    assert any(shifts.values())
    expected = {name: weight.clone() for name, weight in before.network.named_parameters()}
    expected["head.bias"] -= torch.tensor(list(shifts.values()))  # what came after learning
    for name, weight in after.network.named_parameters():
        assert torch.allclose(weight, expected[name], atol=0.01), name
    told = after.card.training
    assert told["configuration"]["network"]["pretrained"] == "a.safetensors"
    assert told["ancestor"]["steps"] == 12
    assert told["ancestor"]["sha256"] == before.sha256
    assert told["terms"] == "for research only"  # the second says nothing of terms
    assert "for research only" in caplog.text
    assert after.card.pixel_size_m == before.card.pixel_size_m  # as measured, not as configured


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"data": {"dataset": "nowhere"}}, DatasetError, "geoseg prepare"),
        ({"data": {}}, ConfigError, "data.dataset"),
        ({"data": {"window": 66}}, ConfigError, "multiple of the network's stride 4"),
        ({"data": {"layer": "circles"}}, ConfigError, "no layer 'circles'"),
        ({"network": {"architecture": "unett"}}, ModelError, "unknown architecture"),
        ({"network": {"pretrained": "package"}}, ConfigError, "takes no pretrained"),
        ({"network": {"mean": [1.0], "std": [1.0]}}, ConfigError, "has 3 bands"),
        ({"network": {"mean": [1.0]}}, ConfigError, "only one is set"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_it_begins(
    drawn: Path, tmp_path: Path, changes: dict[str, dict[str, object]], error: type, why: str
) -> None:
    values = config(drawn).model_dump(exclude_none=True)
    for section, change in changes.items():
        values[section] = {**values[section], **change} if change else {}
    with pytest.raises(error, match=why):
        train(parse_config(values, "test"), tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_output_that_exists_or_has_a_strange_name_is_refused(
    drawn: Path, tmp_path: Path
) -> None:
    (tmp_path / "m.safetensors").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        train(config(drawn), tmp_path / "m.safetensors")
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        train(config(drawn), tmp_path / "m.pth")


def test_a_run_that_gets_no_better_stops_early_and_keeps_its_best(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([0.3, 0.5, 0.5, 0.4, 0.2, 0.9])  # the last is what the finished model gets

    def scored(_run: TrainingRun, *_: object) -> WindowScores:
        hits = round(1000 * next(found))
        return WindowScores(Scores(np.array([[1000, 0], [1000 - hits, hits]])))

    monkeypatch.setattr(TrainingRun, "score", scored)
    monkeypatch.setattr(Scores, "to_json", lambda *_: {"classes": {}})
    made = train(config(drawn, steps=100, validate_every=2, patience=3), tmp_path / "m.safetensors")
    lines = [json.loads(line) for line in made.log.read_text().splitlines()]
    assert lines[-1]["step"] == 10
    assert [line["miou"] for line in lines] == [0.3, 0.5, 0.5, 0.4, 0.2]
    assert load_model(made.model).card.training["steps"] == 10


def with_objects(drawn: Path, **training: object) -> TrainConfig:
    settings = learning(drawn, **training)
    settings["network"]["parameters"]["objects"] = True
    settings["objects"] = {"interior": 5.0, "touching": 5.0}
    settings["augment"] = {"copy_paste": 0.5}
    return parse_config(settings, "test")


def test_a_network_with_object_outputs_learns_them_and_resumes_to_the_same_bytes(
    drawn: Path, tmp_path: Path
) -> None:
    made = train(with_objects(drawn, steps=60, validate_every=20), tmp_path / "one.safetensors")
    lines = [json.loads(line) for line in made.log.read_text().splitlines()]
    found = [line["interior_f1"] for line in lines if "interior_f1" in line]
    assert len(found) == 3
    assert found[-1] > 0.5, found
    model = load_model(made.model)
    assert model.card.objects is not None
    assert model.network(torch.zeros(1, 3, 64, 64)).shape[1] == len(model.card.legend) + 2
    other = tmp_path / "other.safetensors"
    settings = with_objects(drawn, steps=60, validate_every=20)
    with pytest.raises(KeyboardInterrupt):
        train(settings, other, track=stop_after(31))
    train(settings, other, resume=True)
    assert weights(other) == weights(made.model)


def test_held_out_scenes_are_not_trained_on(drawn: Path, tmp_path: Path) -> None:
    settings = learning(drawn, steps=2, validate_every=2)
    settings["data"]["held_out"] = 1 / 3
    made = train(parse_config(settings, "test"), tmp_path / "m.safetensors")
    expected = sum(zlib.crc32(f"train{n}".encode()) % 3 > 0 for n in range(3))
    assert 0 < expected < 3
    assert load_model(made.model).card.training["scenes"] == expected


def test_a_run_limited_by_time_validates_after_its_last_step(
    drawn: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = train(config(drawn, minutes=1e-9), tmp_path / "m.safetensors")
    assert "stopped early" not in caplog.text
    (line,) = (json.loads(line) for line in made.log.read_text().splitlines())
    assert line["step"] == 1
    assert line["miou"] is not None
    assert load_model(made.model).card.training["steps"] == 1


def test_a_run_limited_by_time_may_go_on_for_longer(drawn: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(config(drawn, minutes=1000.0), output, track=stop_after(5))
    train(config(drawn, minutes=1e-9), output, resume=True)
    assert load_model(output).card.training["steps"] == 6


def test_a_run_may_be_told_in_tensorboards_events(drawn: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = tmp_path / "board"
    with pytest.raises(KeyboardInterrupt):
        train(config(drawn), tmp_path / "m.safetensors", track=stop_after(5), tensorboard=board)
    train(config(drawn), tmp_path / "m.safetensors", resume=True, tensorboard=board)
    events = EventAccumulator(str(board)).Reload()
    assert [event.step for event in events.Scalars("miou")] == [4, 8, 12]
    assert [event.step for event in events.Scalars("loss")] == [4, 8, 10, 12]
    assert "iou/plane" in events.Tags()["scalars"]


def steps_of(checkpoint: Path) -> int:
    """Steps that a checkpoint tells of; -1 while there is none."""
    try:
        with safe_open(checkpoint, framework="np") as file:
            return int(file.metadata()["step"])
    except OSError:
        return -1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(
    drawn: Path, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        f'[data]\ndataset = "{drawn}"\nwindow = 64\n'
        "[network]\narchitecture = 'unet'\nparameters = { width = 8, depth = 2 }\n"
        "[loss]\ndice = 1.0\n"
        "[augment]\ncopy_paste = 0.5\nnoise = 0.05\nrotate = 0.5\n"
        "[training]\nsteps = 60\nbatch_size = 4\ncheckpoint_every = 1\nvalidate_every = 7\n"
        "validation_windows = 4\n"
    )
    command = [sys.executable, "-m", "geoseg", "train", str(file), "--progress", "none"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    subprocess.run([*command, "-o", str(whole)], check=True, **quiet)  # type: ignore[call-overload]
    checkpoint, moments = killed.with_suffix(".checkpoint.safetensors"), Random(0)
    # in the writing of a checkpoint, then anywhere in the steps after one
    for moves, calls in ((2, 0), (5, moments.randrange(5_000)), (14, moments.randrange(5_000))):
        before = max(steps_of(checkpoint), 0)
        resume = ["--resume"] if checkpoint.exists() else []
        dying = [sys.executable, *at_checkpoint(moves, calls), *command[3:]]
        run = subprocess.run([*dying, "-o", str(killed), *resume], check=False, **quiet)  # type: ignore[call-overload]
        assert run.returncode == -signal.SIGKILL
        assert before + moves - 1 <= steps_of(checkpoint) < 60
        assert not killed.exists()
    subprocess.run([*command, "-o", str(killed), "--resume"], check=True, **quiet)  # type: ignore[call-overload]
    assert weights(killed) == weights(whole)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to handle")
def test_sigterm_leaves_a_checkpoint_that_resumes(drawn: Path, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        f'[data]\ndataset = "{drawn}"\nwindow = 64\n'
        "[network]\narchitecture = 'unet'\nparameters = { width = 8, depth = 2 }\n"
        "[training]\nsteps = 1000000\nbatch_size = 2\ncheckpoint_every = 2\n"
    )
    output = tmp_path / "m.safetensors"
    command = [sys.executable, "-m", "geoseg", "train", str(file), "-o", str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ, text=True) as run:
        checkpoint = tmp_path / "m.checkpoint.safetensors"
        wait_until(lambda: checkpoint.exists() or run.poll() is not None)
        run.send_signal(signal.SIGTERM)
        _, stderr = run.communicate(timeout=HANG)
    assert run.returncode == 143
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    assert not output.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "config.toml",
        "m.checkpoint.safetensors",
        "m.log.csv",
        "m.log.jsonl",
    ]
