"""Worker processes read the windows that threads read, pass errors on, and end with their parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import psutil
import pytest

from geoseg.errors import DatasetError, SceneError
from geoseg.training.config import TrainConfig, parse_config
from geoseg.training.loading import read_in_processes, read_in_threads
from geoseg.training.sampler import Sampler, build_sampler
from geoseg.training.windows import Sample, open_dataset, open_split
from tests.processes import HANG, wait_until
from tests.synthetic_dataset import dataset


def settings(folder: Path) -> TrainConfig:
    data = {"dataset": str(folder), "window": 64}
    return parse_config({"data": data, "augment": {"copy_paste": 0.5, "noise": 0.1}}, "test")


def open_sampler(config: TrainConfig) -> Sampler:
    reader = open_split(config.data, open_dataset(config.data), "train")
    return build_sampler(config, reader, objects=True)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return settings(dataset(tmp_path_factory.mktemp("synthetic")))


@pytest.fixture(scope="module")
def submit(config: TrainConfig) -> Iterator[Callable[[int], Future[Sample]]]:
    with read_in_processes(config, 2, objects=True) as submit:
        yield submit


def test_processes_and_threads_read_the_same(
    config: TrainConfig, submit: Callable[[int], Future[Sample]]
) -> None:
    with read_in_threads(open_sampler(config), 2) as here:
        for one, other in [(here(n), submit(n)) for n in range(12)]:
            ours, theirs = one.result(), other.result(timeout=HANG)
            np.testing.assert_array_equal(theirs.pixels, ours.pixels)
            np.testing.assert_array_equal(theirs.valid, ours.valid)
            np.testing.assert_array_equal(theirs.labels, ours.labels)
            assert ours.objects is not None
            assert theirs.objects is not None
            np.testing.assert_array_equal(theirs.objects.values, ours.objects.values)
            np.testing.assert_array_equal(theirs.objects.weight, ours.objects.weight)


def test_an_error_in_a_worker_is_that_of_a_thread(tmp_path: Path) -> None:
    broken = settings(dataset(tmp_path))
    for scene in Path(broken.data.dataset, "scenes").iterdir():
        scene.write_bytes(b"not a raster")  # before any process can have opened it
    with pytest.raises(SceneError) as expected:
        open_sampler(broken)(1)
    with read_in_processes(broken, 1) as submit, pytest.raises(SceneError) as raised:
        submit(1).result(timeout=HANG)
    assert str(raised.value) == str(expected.value)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_the_death_of_a_worker_is_an_error_of_one_line(config: TrainConfig) -> None:
    with (
        pytest.raises(DatasetError, match="Use fewer workers if memory ran out"),
        read_in_processes(config, 1) as submit,
    ):
        submit(0).result(timeout=HANG)
        for child in _workers(psutil.Process()):
            child.kill()
        submit(1).result(timeout=HANG)


@pytest.mark.slow
def test_a_missing_dataset_is_an_error_of_a_worker_s_first_sample(
    config: TrainConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = parse_config({"data": {"dataset": f"{config.data.dataset} gone"}}, "test")
    with read_in_processes(gone, 1) as submit, pytest.raises(DatasetError, match="gone"):
        submit(0).result(timeout=HANG)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_no_worker_outlives_the_block(config: TrainConfig) -> None:
    with pytest.raises(KeyboardInterrupt), read_in_processes(config, 2) as submit:
        submit(0).result(timeout=HANG)
        raise KeyboardInterrupt
    assert not _workers(psutil.Process())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("word", ["kill", "terminate", "interrupt"])
def test_no_worker_outlives_a_training(config: TrainConfig, tmp_path: Path, word: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        f'[data]\ndataset = "{Path(config.data.dataset).as_posix()}"\nwindow = 64\n'
        "[network]\narchitecture = 'unet'\nparameters = { width = 4, depth = 1 }\n"
        "[training]\nsteps = 100000\nbatch_size = 1\nvalidate_every = 100000\ncheckpoint_every = 1\n"
    )
    model = tmp_path / "m.safetensors"
    command = [sys.executable, "-m", "geoseg", "train", str(file), "-o", str(model)]
    with subprocess.Popen(
        [*command, "--workers", "2", "--device", "cpu", "--progress", "none"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        checkpoint = model.with_suffix(".checkpoint.safetensors")
        wait_until(lambda: checkpoint.exists() or run.poll() is not None)
        workers = _workers(psutil.Process(run.pid))
        assert len(workers) == 2
        if word == "interrupt":  # as a terminal does: all that it runs
            os.killpg(run.pid, signal.SIGINT)
        else:
            getattr(run, word)()
        stderr = run.communicate(timeout=HANG)[1]
    assert "Traceback" not in stderr, stderr
    wait_until(lambda: not any(_lives(worker) for worker in workers))


def _workers(parent: psutil.Process) -> list[psutil.Process]:
    """Return the children that read windows; the other is the resource tracker of multiprocessing."""
    return [child for child in parent.children() if "spawn_main" in " ".join(child.cmdline())]


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
