import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from geoseg.models.model_file import load_model
from geoseg.training.distributed import Processes, connect_processes, is_leader, local_device
from tests.processes import HANG, at_checkpoint, wait_until
from tests.synthetic_dataset import dataset

SCRIPT = Path(__file__).with_name("shared_run.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

few = st.integers(1, 5)


@given(st.integers(0, 50), few, few, few)
def test_processes_together_learn_from_what_one_would_in_the_same_order(
    step: int, count: int, batch_size: int, accumulate: int
) -> None:
    parts = [
        Processes(rank, count).sample_numbers(step, batch_size, accumulate) for rank in range(count)
    ]
    together = [n for batch in range(accumulate) for part in parts for n in part[batch]]
    alone = Processes().sample_numbers(step, batch_size * count, accumulate)
    assert together == [n for batch in alone for n in batch]


def test_a_process_that_nobody_else_started_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")  # as batch systems set it
    monkeypatch.setenv("RANK", "3")
    with connect_processes("cpu") as alone:
        assert alone == Processes(0, 1)
    assert is_leader()
    assert local_device("cuda") == "cuda"


def environment(threads: int = 1) -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": str(threads)}


def ran(folder: Path, command: list[str], *arguments: object) -> list[dict[str, Any]]:
    folder.mkdir()
    words = [*command, str(SCRIPT), *map(str, arguments), str(folder)]
    done = subprocess.run(
        words, env=environment(), capture_output=True, text=True, timeout=HANG, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [
        {**json.loads(facts.read_text()), **load_file(facts.with_suffix(".safetensors"))}
        for facts in sorted(folder.glob("*.json"))
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torch has no gloo with libuv there")
def test_two_processes_do_what_one_does_with_the_double_batch(tmp_path: Path) -> None:
    drawn = dataset(tmp_path / "drawn")
    (alone,) = ran(tmp_path / "one", [sys.executable], drawn, 4, 1)
    first, second = ran(tmp_path / "two", TORCHRUN, drawn, 2, 1)
    for step, windows in enumerate(alone["windows"]):
        assert windows == first["windows"][step] + second["windows"][step]
    assert first["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert first["losses"] == pytest.approx(second["losses"], rel=1e-6)
    assert first["miou"] == second["miou"] == pytest.approx(alone["miou"], abs=0.02)
    names = [name for name in alone if "/" in name]
    assert any(name.startswith("slopes/") for name in names)
    for name in names:
        assert (first[name] == second[name]).all()
        np.testing.assert_allclose(first[name], alone[name], rtol=2e-3, atol=2e-5)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_processes_that_are_killed_go_on_to_the_same_bytes_and_leave_one_model(
    tmp_path: Path,
) -> None:
    drawn, config = dataset(tmp_path / "drawn"), tmp_path / "config.toml"
    config.write_text(
        f'[data]\ndataset = "{drawn.as_posix()}"\nwindow = 64\n'
        "[network]\narchitecture = 'unet'\nparameters = { width = 4, depth = 2 }\n[loss]\ndice = 1.0\n"
        "[training]\nsteps = 30\nbatch_size = 2\naccumulate = 2\nvalidate_every = 4\n"
        "validation_windows = 5\ncheckpoint_every = 1\n"
    )
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    command = [*TORCHRUN, "-m", "geoseg", "train", str(config), "-o"]
    told = subprocess.run(
        [*command, str(whole)], env=environment(), capture_output=True, text=True, check=True
    )
    assert told.stdout.count(str(whole)) == 1  # only one of them talks
    configuration = load_model(whole).card.training["configuration"]
    assert configuration["processes"] == 2
    checkpoint = killed.with_suffix(".checkpoint.safetensors")
    stopping = [*TORCHRUN, *at_checkpoint(3, action="stop"), "train", str(config), "-o"]
    with subprocess.Popen(
        [*stopping, str(killed)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as run:
        wait_until(lambda: checkpoint.exists() or run.poll() is not None)
        workers = psutil.Process(run.pid).children(recursive=True)
        for process in (*workers, psutil.Process(run.pid)):
            process.kill()
    assert checkpoint.exists()
    assert not killed.exists()
    resume = [*command, str(killed), "--resume"]
    subprocess.run(resume, env=environment(), capture_output=True, check=True)
    ours, theirs = load_file(killed), load_file(whole)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
