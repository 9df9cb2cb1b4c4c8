"""The memory of a window is known before it is predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.errors import ConfigError
from geoseg.inference.memory import forward_bytes_per_pixel, largest_window, memory_limit
from geoseg.inference.tiling import choose_tiles
from tests.scenes import tiny_model


class Known(nn.Module):
    """3 bands in; while 8 channels become 5, there are 3 + 8 + 5; at the end 3 + 5 + 5 + 10."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 5, 1)

    def forward(self, image: Tensor) -> Tensor:
        image = self.two(F.relu(self.one(image), inplace=True))
        return torch.cat([image, image + 1], dim=1)


def test_peak_bytes_are_those_of_tensors_alive_at_once() -> None:
    assert forward_bytes_per_pixel(Known().eval(), bands=3, stride=8) == 4 * (3 + 5 + 5 + 10)


def test_the_largest_window_is_proportional_to_the_limit() -> None:
    def pixels(limit: int) -> int:
        return largest_window(
            Known().eval(), bands=3, stride=8, limit=limit, pixel_bytes=10, on_gpu=True
        )

    assert pixels(4 * 10**8) == pytest.approx(4 * pixels(10**8), abs=4)
    assert pixels(0) == 0


def test_other_memory_of_the_process_does_not_reduce_the_limit() -> None:
    def pixels() -> int:
        return largest_window(
            Known().eval(), bands=3, stride=8, limit=10**9, pixel_bytes=10, on_gpu=False
        )

    before = pixels()
    ballast = np.ones(3 * 10**8, np.uint8)
    assert pixels() == before > 500**2
    assert ballast[-1] == 1


def test_windows_stay_within_the_limit() -> None:
    model = tiny_model(margin=32)
    for limit in (80, 128, 500, 1100):
        chosen = choose_tiles(3000, 2000, model, largest_window=limit**2)
        assert max(c.window.width * c.window.height for c in chosen) <= limit**2
    with pytest.raises(ConfigError, match=r"--memory.*margin of 32"):
        choose_tiles(3000, 2000, model, largest_window=64**2)


def test_a_resumed_run_on_a_gpu_keeps_its_limit_though_free_memory_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([8 * 10**9, 5 * 10**9, 5 * 10**9])
    monkeypatch.setattr("geoseg.inference.memory.free_gpu_memory", lambda _device: next(free))
    assert memory_limit("cuda", tmp_path) == 8 * 10**9
    assert memory_limit("cuda", tmp_path) == 8 * 10**9
    assert memory_limit("cuda") == 5 * 10**9
    monkeypatch.undo()
    assert memory_limit("cpu", tmp_path) == 2 * 10**9
