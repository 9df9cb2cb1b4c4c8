"""Training by several processes, one per GPU or per few cores, started by torchrun.

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
    """The processes of a run, from the point of view of one of them."""

    rank: int = 0
    """Number of this process, from 0. Rank 0 writes files and messages."""

    count: int = 1
    """Number of processes."""

    @property
    def is_leader(self) -> bool:
        """True in the process that writes files and messages."""
        return self.rank == 0

    def reduce_sum(self, part: Tensor) -> Tensor:
        """Sum a tensor over all processes; the gradient flows to this process's part."""
        if self.count == 1:
            return part
        total = part.detach().clone()
        dist.all_reduce(total)
        return part + (total - part.detach())

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of the leader, in place."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def sample_numbers(self, step: int, batch_size: int, accumulate: int) -> list[range]:
        """Return the numbers of the samples that this process learns from in a step, by batch."""
        first = step * accumulate * self.count + self.rank
        starts = (first + batch * self.count for batch in range(accumulate))
        return [range(start * batch_size, (start + 1) * batch_size) for start in starts]

    def wrap_network(self, network: nn.Module, device: str) -> nn.Module:
        """Return a network whose gradients are averaged over all processes.

        Notes
        -----
        Batch norm uses the statistics of each process's own batch; the leader's running statistics are kept.
        """
        if self.count == 1:
            return network
        return DistributedDataParallel(network, [torch.device(device)] if device != "cpu" else None)


def is_leader() -> bool:
    """Return True in a single process, and in the first of those that torchrun started."""
    return not dist.is_torchelastic_launched() or os.environ.get("RANK", "0") == "0"


def local_device(device: str) -> str:
    """Return the GPU of this process under torchrun, else `device`."""
    if device != "cuda" or not dist.is_torchelastic_launched():
        return device
    return f"cuda:{os.environ['LOCAL_RANK']}"


@contextmanager
def connect_processes(device: str) -> Iterator[Processes]:
    """Yield the processes that torchrun started, connected for the block, or this process alone."""
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
