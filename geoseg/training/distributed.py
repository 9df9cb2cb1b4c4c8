"""Several processes, one per GPU or per few cores, that share a run as torchrun starts them.

    torchrun --nproc-per-node 2 -m geoseg train CONFIG -o MODEL

A step of P processes with batches of b windows learns from the same windows, in the same order, as one process with
batches of P * b.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True)
class Processes:
    """Those that share a run."""

    rank: int = 0
    """Which of them this is, from 0; that one validates, writes and talks."""

    count: int = 1

    @property
    def leads(self) -> bool:
        """True in the one that writes."""
        return self.rank == 0

    def everywhere(self, part: Tensor) -> Tensor:
        """The sum over processes; a gradient flows to this one's part."""
        if self.count == 1:
            return part
        rest = part.detach().clone()
        dist.all_reduce(rest)
        return part + (rest - part.detach())

    def same(self, tensors: Iterable[Tensor]) -> None:
        """Make tensors what they are in the one that leads."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def numbers(self, step: int, batch_size: int, accumulate: int) -> list[range]:
        """Numbers of the samples that this process learns from in a step, batch by batch."""
        first = step * accumulate * self.count + self.rank
        starts = (first + batch * self.count for batch in range(accumulate))
        return [range(start * batch_size, (start + 1) * batch_size) for start in starts]

    def joined(self, network: nn.Module, device: str) -> nn.Module:
        """The network, with gradients that are the mean over processes.

        Batch statistics stay those of each process; the running ones are those of the one that leads.
        """
        if self.count == 1:
            return network
        return DistributedDataParallel(network, [torch.device(device)] if device != "cpu" else None)


def leads() -> bool:
    """True in a process that is alone, and in the first of several."""
    return not dist.is_torchelastic_launched() or os.environ.get("RANK", "0") == "0"


def own_device(device: str) -> str:
    """The GPU of this process where there is one for each, else `device`."""
    if device != "cuda" or not dist.is_torchelastic_launched():
        return device
    return f"cuda:{os.environ['LOCAL_RANK']}"


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Those that torchrun started, connected while the block lasts; else this one alone."""
    if not dist.is_torchelastic_launched() or os.environ.get("WORLD_SIZE") == "1":
        yield Processes()
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
