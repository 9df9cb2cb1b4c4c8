import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine
from rasterio.windows import Window

from geoseg.dataset.folder import Dataset
from geoseg.legend import IGNORE
from geoseg.raster.scene import Scene, open_scene
from geoseg.training.loading import Batch, Scaling, load_batches, read_in_threads
from geoseg.training.windows import ObjectIndex, Sample, ScenePool, SplitReader, View
from tests.processes import HANG
from tests.synthetic_dataset import COLOURS, dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.open(dataset(tmp_path_factory.mktemp("drawn")))


def scenes(drawn: Dataset, split: str = "train") -> SplitReader:
    return SplitReader(drawn, split, layer=None, difficult="keep")


def test_a_window_is_what_the_scene_gives(drawn: Dataset) -> None:
    train = scenes(drawn)
    sample = train.read(View(1, Affine.translation(-40, -30)), 64)
    with open_scene(Path(train.paths[1])) as scene:
        pixels, valid = scene.read(Window(40, 30, 64, 64))
    assert (np.moveaxis(sample.pixels, 2, 0) == pixels).all()
    assert (sample.valid == valid).all()


def test_beyond_a_scene_nothing_counts(drawn: Dataset) -> None:
    sample = scenes(drawn).read(View(0, Affine.translation(48, 48)), 256)
    assert sample.valid.sum() == 160 * 160
    assert (sample.labels[~sample.valid] == IGNORE).all()
    assert not sample.pixels[~sample.valid].any()
    inputs = Scaling((100, 100, 100), (50, 50, 50)).make_batch([sample]).inputs
    assert not inputs[0][:, ~sample.valid].any()
    assert inputs.dtype == torch.float32
    assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_validation_windows_cover_the_split_once(drawn: Dataset) -> None:
    validation = scenes(drawn, "val")
    windows = validation.spread_windows(64, 10_000)
    assert len(windows) == 3 * 3 * 3
    covered = np.zeros((3, 160, 160), int)
    for number, window in windows:
        covered[number][window.toslices()] += 1
    assert (covered == 1).all()
    assert len(validation.spread_windows(64, 5)) == 5


def test_objects_are_those_of_the_annotations(drawn: Dataset) -> None:
    objects = ObjectIndex(scenes(drawn))
    assert {drawn.legend[c].name: len(n) for c, n in objects.by_class.items()} == dict.fromkeys(
        COLOURS, 3
    )
    for class_id, numbers in objects.by_class.items():
        for number in numbers.tolist():
            _, chosen = objects[number]
            assert chosen.class_id.tolist() == [class_id]


def test_scaling_is_the_mean_and_deviation_of_what_is_valid() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (8, 8, 2)).astype(np.uint8)
    valid = rng.random((8, 8)) < 0.5
    scaling = Scaling.measure([Sample(pixels, np.zeros((8, 8), np.uint8), valid)] * 2)
    assert scaling.mean == pytest.approx(pixels[valid].mean(0), abs=1e-3)
    assert scaling.std == pytest.approx(pixels[valid].std(0), abs=1e-3)
    with pytest.raises(ValueError, match="no valid pixel"):
        Scaling.measure([Sample(pixels, np.zeros((8, 8), np.uint8), np.zeros((8, 8), bool))])


def numbered(n: int) -> Sample:
    return Sample(
        np.full((2, 2, 1), n, np.uint8), np.full((2, 2), n, np.uint8), np.ones((2, 2), bool)
    )


@contextmanager
def read_ahead(
    read: Callable[[int], Sample], groups: Iterable[Sequence[int]], count: int
) -> Iterator[Iterator[Batch]]:
    with (
        read_in_threads(read, count) as submit,
        load_batches(submit, groups, Scaling((0,), (1,)), device="cpu") as ahead,
    ):
        yield ahead


def test_batches_come_in_order_whoever_reads_first() -> None:
    groups: Sequence[range] = [range(n, n + 3) for n in range(0, 30, 3)]
    with read_ahead(numbered, groups, 4) as ahead:
        found = [batch.labels[:, 0, 0].tolist() for batch in ahead]
    assert found == [list(group) for group in groups]


def test_windows_are_read_by_several_threads_at_once() -> None:
    meeting = Barrier(3)

    def read(n: int) -> Sample:
        meeting.wait(timeout=HANG)  # nobody goes on before three are here
        return numbered(n)

    with read_ahead(read, [range(3)] * 2, 3) as ahead:
        assert len(list(ahead)) == 2


def test_whoever_stops_early_leaves_no_reader_behind() -> None:
    asked: list[int] = []

    def read(n: int) -> Sample:
        asked.append(n)
        return numbered(n)

    with read_ahead(read, ([n] for n in range(1000)), 2) as ahead:
        next(ahead)
    assert len(asked) < 10


def test_an_error_in_a_reader_is_raised_where_its_batch_is_asked_for() -> None:
    def read(n: int) -> Sample:
        if n == 1:
            raise OSError("gone")
        return numbered(n)

    with read_ahead(read, [[0], [1]], 1) as ahead:
        next(ahead)
        with pytest.raises(OSError, match="gone"):
            next(ahead)


@contextmanager
def count_openings(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[list[Path], list[Path]]]:
    """Yield the paths of scenes as they are opened, and as they are closed."""
    opened: list[Path] = []
    closed: list[Path] = []
    original, lock = Scene.open, Lock()

    def open_and_count(path: Path, **needs: Any) -> Scene:
        scene = original(path, **needs)
        close = scene.close

        def close_and_count() -> None:
            with lock:
                closed.append(path)
            close()

        monkeypatch.setattr(scene, "close", close_and_count)
        with lock:
            opened.append(path)
        return scene

    monkeypatch.setattr(Scene, "open", open_and_count)
    yield opened, closed


def test_a_scene_is_opened_and_checked_once_for_all_of_its_windows(
    drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with count_openings(monkeypatch) as (opened, closed):
        reader = scenes(drawn)
        for n in range(12):
            reader.read(View(n % 3, Affine.translation(-n, -n)), 64)
        assert sorted(opened) == sorted(reader.paths[:3])
        assert not closed
        reader.close()
        assert sorted(closed) == sorted(opened)
        reader.read(View(0, Affine.identity()), 64)  # opens it again
        del reader
        gc.collect()
    assert sorted(closed) == sorted(opened)


def test_no_more_scenes_stay_open_than_the_limit_and_the_least_recently_used_is_closed(
    drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = scenes(drawn).paths
    with count_openings(monkeypatch) as (opened, closed):
        pool = ScenePool(paths, bands=3, dtype="uint8", limit=2)
        for number in (0, 1, 0, 2):
            with pool.borrow(number) as scene:
                scene.read(Window(0, 0, 8, 8))
        assert opened == [paths[0], paths[1], paths[2]]
        assert closed == [paths[1]]
        pool.close()
    assert sorted(closed) == sorted(opened)


def test_no_two_threads_share_an_open_scene(drawn: Dataset) -> None:
    pool = ScenePool(scenes(drawn).paths, bands=3, dtype="uint8")
    meeting = Barrier(4)

    def borrow(_: int) -> int:
        with pool.borrow(0) as scene:
            meeting.wait(timeout=HANG)
            return id(scene)

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(borrow, range(4)))) == 4
    pool.close()


def test_a_scene_that_could_not_be_read_is_not_kept_open(
    drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with count_openings(monkeypatch) as (opened, closed):
        pool = ScenePool(scenes(drawn).paths, bands=3, dtype="uint8")
        with pytest.raises(ValueError, match="not inside a scene"), pool.borrow(0) as scene:
            scene.read(Window(0, 0, 5000, 8))
    assert closed == opened


FORKED = """
import os, sys
from pathlib import Path
import cv2
import numpy as np
from affine import Affine
from geoseg.dataset.folder import Dataset
from geoseg.training.windows import SplitReader, View

cv2.setNumThreads(0)
reader = SplitReader(Dataset.open(Path(sys.argv[1])), "train", layer=None, difficult="keep")
view = View(0, Affine.identity())
expected = reader.read(view, 64)
ours = reader._pool._idle[0][1]
child = os.fork()
sample = reader.read(view, 64)
equal = np.array_equal(sample.pixels, expected.pixels)
if child == 0:
    own = reader._pool._idle[0][1] is not ours
    os._exit(0 if own and equal and len(reader._pool._idle) == 1 else 1)
assert equal
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_opens_scenes_of_its_own(drawn: Dataset) -> None:
    # a process without other threads forks, since a fork beside threads may inherit held locks
    command = [sys.executable, "-c", FORKED, str(drawn.folder)]
    subprocess.run(command, check=True, timeout=HANG)
