"""Memory settings belong to the geoseg process, never to the host of a library call."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from geoseg.cli import boundary, geoseg, process
from geoseg.tools.evaluate import evaluate
from geoseg.tools.segment import segment
from geoseg.training.config import TrainConfig, parse_config
from tests.calls import train
from tests.scenes import UTM, model_file, picture, write_scene
from tests.synthetic_dataset import dataset

HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Calls of mallopt, recorded instead of made; no wish for huge pages in the environment."""
    calls: list[str] = []
    monkeypatch.setenv(HUGE_PAGES, "")  # restored after the test, also where the test sets it
    monkeypatch.delenv(HUGE_PAGES)

    class Library:
        def __init__(self, _name: object) -> None:
            pass

        def mallopt(self, parameter: int, value: int) -> int:
            calls.append(f"mallopt({parameter}, {value})")
            return 1

    monkeypatch.setattr("ctypes.CDLL", Library)
    return calls


def tiny_config(folder: Path) -> TrainConfig:
    return parse_config(
        {
            "data": {"dataset": str(folder), "window": 32},
            "network": {"architecture": "unet", "parameters": {"width": 4, "depth": 2}},
            "training": {"steps": 2, "batch_size": 1, "warmup": 0, "validate_every": 2},
        },
        "test",
    )


def test_library_calls_leave_the_process_as_it_is(tmp_path: Path, settings: list[str]) -> None:
    folder = dataset(tmp_path / "dataset")
    model = train(tiny_config(folder), tmp_path / "m.safetensors", device="cpu").model
    evaluate(folder, model=model, device="cpu")
    scene = write_scene(tmp_path / "scene.tif", picture(40, 40), **UTM)
    segment(scene, tmp_path / "o.gpkg", model=model_file(tmp_path / "t.safetensors"))
    assert settings == []
    assert HUGE_PAGES not in os.environ


def test_the_command_line_requests_huge_pages_unless_the_user_decided(
    tmp_path: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = str(write_scene(tmp_path / "scene.tif", picture(40, 40), **UTM))
    assert boundary.run(geoseg, ["info", scene]) == 0
    assert os.environ[HUGE_PAGES] == "1"
    monkeypatch.setenv(HUGE_PAGES, "0")
    assert boundary.run(geoseg, ["info", scene]) == 0
    assert os.environ[HUGE_PAGES] == "0"
    assert settings == []


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_geoseg_train_keeps_freed_memory_on_a_cpu_only(
    tmp_path: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("geoseg.tools.train.train", stop)
    config = tmp_path / "c.toml"
    config.write_text('[data]\ndataset = "x"\n')
    command = ["train", str(config), "-o", str(tmp_path / "m.safetensors"), "--device"]
    monkeypatch.setattr("geoseg.models.runtime.choose_device", lambda _name: "cuda")
    assert boundary.run(geoseg, [*command, "auto"]) == 130
    assert settings == []
    monkeypatch.setattr("geoseg.models.runtime.choose_device", lambda _name: "cpu")
    assert boundary.run(geoseg, [*command, "auto"]) == 130
    assert len(settings) == 2
    assert process.keep_freed_memory()
