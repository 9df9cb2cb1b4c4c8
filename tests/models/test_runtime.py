"""Devices and their memory, with doubles of the GPU."""

from __future__ import annotations

import pytest
import torch

from geoseg.errors import ConfigError
from geoseg.models.runtime import choose_device, free_gpu_memory

GB = 10**9


def set_gpu(
    monkeypatch: pytest.MonkeyPatch, *, free: int, total: int, reserved: int = 0, allocated: int = 0
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, total))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: allocated)


def test_the_limit_of_a_gpu_is_four_fifths_of_its_free_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_gpu(monkeypatch, free=10 * GB, total=80 * GB)
    assert free_gpu_memory("cuda") == 8 * GB
    set_gpu(monkeypatch, free=9 * GB, total=80 * GB, reserved=3 * GB, allocated=2 * GB)
    assert free_gpu_memory("cuda") == 8 * GB  # 1 GB is in the cache of this process


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_other_devices_share_the_memory_of_the_machine(device: str) -> None:
    assert free_gpu_memory(device) is None


def test_a_missing_device_is_an_error_and_auto_never_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(ConfigError, match=r"cuda: not available.*--device auto"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"
