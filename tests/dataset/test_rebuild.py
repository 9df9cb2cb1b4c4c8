"""Repeated runs after a kill or a change: they write what is missing, and the result equals that of a new run."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from geoseg.dataset import build as folder
from geoseg.dataset import images
from geoseg.dataset.folder import Dataset
from geoseg.errors import OutputError, SceneError
from geoseg.progress import Text, Track
from geoseg.work_folder import open_work_folder
from tests.calls import prepare
from tests.dota_folder import PLANE, SHIP, Thing, add

T = TypeVar("T")
SIZES = {"P0": (300, 260), "P1": (700, 600), "P2": (90, 80), "P3": (90, 81)}


@pytest.fixture
def dota(tmp_path: Path) -> Path:
    for name, (width, height) in SIZES.items():
        add(tmp_path / "dota", name, width=width, height=height, gsd=0.5)
    return tmp_path / "dota"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the scenes that were written."""
    names: list[str] = []
    original = images.write_image

    def spied(image: Path, output: Path, **options: object) -> None:
        original(image, output, **options)  # type: ignore[arg-type]
        names.append(output.stem)

    monkeypatch.setattr(folder, "write_image", spied)
    return names


def contents(dataset: Path) -> dict[str, object]:
    """Return the contents of a dataset, independent of how its files store them."""
    told: dict[str, object] = {
        name: (dataset / name).read_bytes() for name in ("dataset.json", "report.json")
    }
    for layer in Dataset.open(dataset).layers:
        told[layer] = gpd.read_file(dataset / "annotations.gpkg", layer=layer).to_wkb().to_csv()
    for path in sorted((dataset / "scenes").iterdir()):
        with rasterio.open(path) as scene:
            pixels = [scene.read().tobytes(), scene.dataset_mask().tobytes()]
            told[path.name] = (pixels, scene.transform, scene.crs, scene.overviews(1))
    keys = [json.loads(line) for line in (dataset / "journal").read_text().splitlines()]
    told["journal"] = [key | {"bytes": 0} for key in keys]
    assert {p.name for p in dataset.iterdir()} == {
        *("annotations.gpkg", "dataset.json", "journal", "report.json", "scenes")
    }
    return told


def stopping(scenes: int) -> Track:
    """Progress that interrupts a run once so many scenes are written."""

    def interrupted(
        items: Iterable[T], /, text: Text = "", total: int | None = None
    ) -> Iterator[T]:
        for n, item in enumerate(items):
            if text == "write scenes" and n == scenes:
                raise KeyboardInterrupt
            yield item

    return interrupted


def repaint(dota: Path) -> None:
    add(dota, "P1", [PLANE], width=700, height=600, gsd=0.5)


def relabel(dota: Path) -> None:
    add(dota, "other", [SHIP, Thing(SHIP.corners, "harbor")], width=300, height=260, gsd=0.5)
    (dota / "labelTxt" / "other.txt").rename(dota / "labelTxt" / "P0.txt")
    (dota / "images" / "other.png").unlink()


def remove(dota: Path) -> None:
    for file in ("images/P2.png", "labelTxt/P2.txt"):
        (dota / file).unlink()


def add_large(dota: Path) -> None:  # moves every scene after it
    add(dota, "P9", width=900, height=800, gsd=0.5)


def nothing(dota: Path) -> None:
    assert dota.is_dir()


CHANGES: list[tuple[Callable[[Path], None], dict[str, object], set[str]]] = [
    (nothing, {}, set()),
    (repaint, {}, {"P1"}),
    (relabel, {}, {"P0"}),
    (remove, {}, set()),
    (add_large, {}, {"P9"}),
    (nothing, {"val_share": 0.6}, set()),
    (nothing, {"legend": "dota-v2.0"}, {*SIZES}),
    (nothing, {"difficult": "drop"}, {*SIZES}),
    (nothing, {"restart": True}, {*SIZES}),
]


@pytest.mark.parametrize(("change", "options", "expected"), CHANGES)
def test_only_what_has_changed_is_written_and_the_outcome_is_that_of_a_fresh_run(
    dota: Path,
    tmp_path: Path,
    written: list[str],
    change: Callable[[Path], None],
    options: dict[str, object],
    expected: set[str],
) -> None:
    out = prepare(dota, tmp_path / "out")
    assert set(written) == set(SIZES)
    change(dota)
    written.clear()
    prepare(dota, out, overwrite=True, **options)
    assert set(written) == expected
    fresh = prepare(dota, tmp_path / "fresh", **options)
    assert contents(out) == contents(fresh)


def test_changed_files_of_a_dataset_are_written_again(
    dota: Path, tmp_path: Path, written: list[str]
) -> None:
    out = prepare(dota, tmp_path / "out")
    before = contents(out)
    (out / "scenes" / "P1.tif").write_bytes(b"cut")
    (out / "scenes" / "P2.tif").unlink()
    journal = (out / "journal").read_text().splitlines()
    (out / "journal").write_text("\n".join([*journal[:-1], journal[-1][:30]]))  # cut: that of P3
    written.clear()
    prepare(dota, out, overwrite=True)
    assert sorted(written) == ["P1", "P2", "P3"]
    assert contents(out) == before


@pytest.mark.parametrize("done", [1, 3])
def test_an_interrupted_run_goes_on_where_it_was(
    dota: Path, tmp_path: Path, written: list[str], done: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        prepare(dota, tmp_path / "out", jobs=1, track=stopping(done))
    before = len(written)
    assert before >= done
    prepare(dota, tmp_path / "out")
    assert len(written) == len(SIZES)
    assert contents(tmp_path / "out") == contents(prepare(dota, tmp_path / "fresh"))


def test_what_a_kill_left_half_written_is_no_part_of_the_dataset(
    dota: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        prepare(dota, tmp_path / "out", jobs=1, track=stopping(1))
    (journal,) = tmp_path.glob(".out.unfinished/**/journal")
    for name in (".journal.7055df24.part", ".annotations.0123abcd.part.gpkg", "annotations.gpkg"):
        journal.with_name(name).write_bytes(b"half")
    prepare(dota, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(prepare(dota, tmp_path / "fresh"))


def test_an_interrupted_run_goes_on_after_the_input_has_changed(dota: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        prepare(dota, tmp_path / "out", jobs=1, track=stopping(3))
    for change in (repaint, relabel, remove, add_large):
        change(dota)
    prepare(dota, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(prepare(dota, tmp_path / "fresh"))


def test_an_interrupted_update_keeps_the_former_dataset_complete(
    dota: Path, tmp_path: Path, written: list[str]
) -> None:
    out = prepare(dota, tmp_path / "out")
    before = contents(out)
    repaint(dota)
    add_large(dota)
    with pytest.raises(KeyboardInterrupt):
        prepare(dota, out, overwrite=True, jobs=1, track=stopping(3))
    assert contents(out) == before
    written.clear()
    prepare(dota, out, overwrite=True)
    assert len(written) < 2
    assert contents(out) == contents(prepare(dota, tmp_path / "fresh"))


def test_an_invalid_scene_does_not_discard_finished_scenes(
    dota: Path, tmp_path: Path, written: list[str]
) -> None:
    image = dota / "images" / "P2.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:-60])
    with pytest.raises(SceneError, match="P2"):
        prepare(dota, tmp_path / "out", jobs=1)
    image.write_bytes(whole)
    prepare(dota, tmp_path / "out")
    assert sorted(written) == sorted(SIZES)


def test_two_runs_do_not_write_the_same_dataset(dota: Path, tmp_path: Path) -> None:
    with (
        open_work_folder((tmp_path / "out").resolve()),
        pytest.raises(OutputError, match="another process is writing it"),
    ):
        prepare(dota, tmp_path / "out")


def test_a_kill_between_the_two_renames_loses_no_dataset(dota: Path, tmp_path: Path) -> None:
    out = prepare(dota, tmp_path / "out")
    before = contents(out)
    (tmp_path / ".out.unfinished").mkdir()
    out.rename(tmp_path / ".out.unfinished" / "former")  # as after a kill
    with pytest.raises(OutputError, match="exists already"):
        prepare(dota, out)
    assert contents(out) == before


def test_a_disk_that_is_full_at_the_end_leaves_the_former_dataset(
    dota: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "full")

    out = prepare(dota, tmp_path / "out")
    before = contents(out)
    repaint(dota)
    with monkeypatch.context() as patch:
        patch.setattr(folder, "_sync_files", full)
        with pytest.raises(OutputError, match="disk is full"):
            prepare(dota, out, overwrite=True)
    assert contents(out) == before
    prepare(dota, out, overwrite=True)
    assert contents(out) == contents(prepare(dota, tmp_path / "fresh"))


CHILD = """
import sys
from pathlib import Path
from geoseg import BatchOptions, prepare
prepare(Path(sys.argv[1]), Path(sys.argv[2]), run=BatchOptions(jobs=1, overwrite=True))
"""


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_a_complete_dataset_or_none(tmp_path: Path) -> None:
    for n in range(12):
        add(tmp_path / "dota", f"P{n}", width=600, height=500)
    expected = contents(prepare(tmp_path / "dota", tmp_path / "fresh"))
    out, work = tmp_path / "out", tmp_path / ".out.unfinished"
    for done in (1, 4, 8, 12):
        command = [sys.executable, "-c", CHILD, str(tmp_path / "dota"), str(out)]
        with subprocess.Popen(command, env={**os.environ}) as child:
            journal = work / "dataset" / "journal"
            while child.poll() is None:
                if journal.exists() and len(journal.read_text().splitlines()) > done:
                    child.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.002)
        assert child.returncode in (0, -signal.SIGKILL)
        if out.exists():
            assert contents(out) == expected
    prepare(tmp_path / "dota", out, overwrite=True)
    assert contents(out) == expected
    assert not work.exists()


def test_a_mask_that_changes_beside_the_image_is_a_change(
    tmp_path: Path, written: list[str]
) -> None:
    image = add(tmp_path / "dota", "a", suffix=".tif")
    prepare(tmp_path / "dota", tmp_path / "out")
    valid = np.full((80, 100), 255, np.uint8)
    valid[:30] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(image, "r+") as scene:
        scene.write_mask(valid)
    stat = image.stat()
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    prepare(tmp_path / "dota", tmp_path / "out", overwrite=True)
    assert written == ["a", "a"]
    assert contents(tmp_path / "out") == contents(prepare(tmp_path / "dota", tmp_path / "fresh"))


def test_scenes_in_the_old_dataset_are_not_copied_where_links_are_possible(
    dota: Path, tmp_path: Path
) -> None:
    out = prepare(dota, tmp_path / "out")
    inodes = {path.name: path.stat().st_ino for path in (out / "scenes").iterdir()}
    prepare(dota, out, overwrite=True)
    assert {path.name: path.stat().st_ino for path in (out / "scenes").iterdir()} == inodes
