"""Train the two-scale network on the CPU for a number of minutes, with checkpoints from which a run resumes.

    python -m benchmarks.objects.train DATASET FOLDER --minutes 60 [--seed 0]

Two threads compute the batches of a step, each taking the next one when it is ready, so that a core that other
processes use delays neither. The learning rate is constant after warm-up and falls linearly to 2 % over the last
`COOLDOWN` seconds. FOLDER receives `state.pt`, from which the next run resumes, `checkpoint.safetensors`, the moving
average of the weights in half precision, and `log.jsonl`.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import cv2
import numpy as np
import shapely
import torch
import torch.nn.functional as F
from affine import Affine
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.objects.network import TwoScaleUNet, freeze, warm_start
from benchmarks.objects.predict import MEAN, STD
from benchmarks.objects.targets import (
    COUNTABLE,
    MAX_OFFSET,
    PAD,
    Targets,
    burn_ids,
    compute_targets,
    find_centroids,
)
from geoseg.annotations.burn import OUTLINES, transform_geometry
from geoseg.cli.process import keep_freed_memory
from geoseg.dataset.folder import Dataset
from geoseg.files import replacing
from geoseg.legend import IGNORE
from geoseg.models.model_file import load_model
from geoseg.training.augmentation import blur_and_add_noise, jitter_colours
from geoseg.training.class_weights import class_weights
from geoseg.training.config import AugmentSection, DataSection, LossSection
from geoseg.training.loss import Loss
from geoseg.training.sampler import Sampler
from geoseg.training.windows import Sample, SplitReader, View

BATCH, MICRO_BATCH = 8, 4
"""Windows of a step, and of one forward pass."""

RATE, HEAD_RATE = 1.0e-3, 3.0e-3
"""Learning rates of the decoder, and of the layers at full resolution."""

WARMUP, COOLDOWN = 20, 2100
"""Steps of warm-up; seconds before the end in which the learning rate falls."""

EMA = 0.98
FINE_STAGES_FROZEN = 5
"""Frozen stages of the fine encoder; all of the coarse one is frozen. A CPU has no time to train them."""

NEAR = 5
"""Distance from objects in pixels within which background has its full weight in the object losses."""

OBJECT_LOSSES = {"interior": 0.5, "touching": 0.3, "distance": 0.4, "centre": 0.3, "offset": 0.5}
"""Factors of the losses of the object outputs."""

CHECKPOINT_SECONDS = 600
DATA = DataSection(window=320, balanced=0.7, background=0.05)
AUGMENT = AugmentSection(rotate=0.3, scale=(0.67, 1.6), copy_paste=0.3)
LOSS = LossSection(weights="sqrt", cap=3.0, dice=1.0)


class ObjectSampler(Sampler):
    """Draw training windows with the targets of their objects.

    A class is drawn in proportion to the square root of the number of its objects, not uniformly.
    """

    def __init__(
        self, reader: SplitReader, *, seed: int, data: DataSection, augment: AugmentSection
    ) -> None:
        super().__init__(reader, seed=seed, data=data, augment=augment)
        self._countable = np.zeros(IGNORE + 1, bool)
        self._countable[: len(reader.legend)] = np.isin(reader.legend.names, COUNTABLE)

    def _draw_near_object(self, rng: np.random.Generator) -> tuple[int, tuple[float, float]]:
        roots = np.sqrt([len(numbers) for numbers in self._classes])
        numbers = self._classes[rng.choice(len(roots), p=roots / roots.sum())]
        scene, chosen = self._objects[rng.choice(numbers)]
        left, top, right, bottom = chosen.geometry[0].bounds
        spread = 0.35 * self.size
        x, y = rng.uniform((left, top), (right, bottom)) + rng.uniform(-spread, spread, 2)
        return scene, (float(x), float(y))

    def draw_with_targets(self, n: int) -> tuple[Sample, Targets]:
        """Draw, read and augment sample `n`, and compute its targets."""
        rng = np.random.default_rng((self.seed, n))
        view = self._draw_view(rng)
        plain = sample = self.reader.read(view, self.size)
        if self._copy_paste:
            sample = self._copy_paste(np.random.default_rng((self.seed, n, 1)), plain, view)
        pixels = jitter_colours(rng, sample.pixels, self._augment)
        rng_noise = np.random.default_rng((self.seed, n, 2))
        pixels = blur_and_add_noise(rng_noise, pixels, self._augment)
        pixels[~sample.valid] = 0
        pasted = np.where(sample.labels != plain.labels, sample.labels, 0)
        return Sample(pixels, sample.labels, sample.valid), self._compute_targets(view, pasted)

    def _compute_targets(self, view: View, pasted: NDArray[np.uint8]) -> Targets:
        size = self.size + 2 * PAD
        to_padded = Affine.translation(PAD, PAD) @ view.transform
        corners = [~to_padded @ c for c in ((0, 0), (size, 0), (size, size), (0, size))]
        near = self.reader.indexes[view.scene].query(shapely.Polygon(corners))
        ids = burn_ids(near, size, to_padded)
        countable = np.append(False, self._countable[near.class_id])
        ids = np.where(countable[ids], ids, 0).astype(np.int32)
        scene = self.reader.scenes[view.scene]
        points = shapely.points(find_centroids(near, scene.width, scene.height))
        centroids = shapely.get_coordinates(transform_geometry(points, to_padded))
        return compute_targets(*self._add_pasted(ids, centroids, pasted))

    def _add_pasted(
        self, ids: NDArray[np.int32], centroids: NDArray[np.float64], pasted: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Add pasted objects: their connected components, since they do not touch one another."""
        if not pasted.any():
            return ids, centroids
        wanted = self._countable[pasted].astype(np.uint8)
        count, parts, _, centres = cv2.connectedComponentsWithStats(wanted)
        inside = ids[PAD:-PAD, PAD:-PAD]
        inside[pasted > 0] = 0
        inside[parts > 0] = parts[parts > 0] + len(centroids) - 1
        return ids, np.concatenate([centroids, centres[1:count] + 0.5 + PAD])


@dataclass(frozen=True, slots=True)
class ObjectBatch:
    """Windows and their targets as tensors."""

    inputs: Tensor
    """(N, bands, H, W) scaled pixels."""

    labels: Tensor
    """uint8 (N, H, W) class IDs."""

    values: Tensor
    """(N, 6, H, W) `Targets.values`."""

    weight: Tensor
    """(N, H, W) `Targets.weight`."""


def make_batch(samples: Sequence[tuple[Sample, Targets]]) -> ObjectBatch:
    """Scale and stack samples."""
    pixels = np.stack([sample.pixels for sample, _ in samples]).astype(np.float32)
    pixels = (pixels - MEAN) / STD
    pixels[~np.stack([sample.valid for sample, _ in samples])] = 0
    return ObjectBatch(
        torch.from_numpy(pixels).permute(0, 3, 1, 2),  # channels last
        torch.from_numpy(np.stack([sample.labels for sample, _ in samples])),
        torch.from_numpy(np.stack([targets.values for _, targets in samples])).float(),
        torch.from_numpy(np.stack([targets.weight for _, targets in samples])).float(),
    )


def object_losses(outputs: Tensor, batch: ObjectBatch) -> dict[str, Tensor]:
    """Compute the losses of (N, 6, H, W) object outputs.

    Notes
    -----
    Probabilities: binary cross-entropy with soft targets, summed over pixels and divided by the weight of object pixels
    plus 2 % of all pixels. Background far from objects has a small weight, since decoders read labelled objects only.
    Offsets: smooth L1, up to `MAX_OFFSET`.
    """
    counted = (batch.labels != IGNORE).float()
    on = batch.weight * counted
    near = F.max_pool2d((batch.weight > 0).float()[:, None], 2 * NEAR + 1, 1, NEAR)[:, 0]
    weight = on + (0.05 + 0.45 * near) * counted * (batch.weight == 0)
    norm = on.sum() + 0.02 * counted.sum() + 1
    losses = {}
    boosts = {"interior": 1.0, "touching": 3.0, "distance": 1.0, "centre": 4.0}
    for index, (name, boost) in enumerate(boosts.items()):
        target = batch.values[:, index]
        each = F.binary_cross_entropy_with_logits(outputs[:, index], target, reduction="none")
        losses[name] = (each * weight * (1 + (boost - 1) * target)).sum() / norm
    offsets = batch.values[:, 4:]
    learned = (offsets.abs().amax(1) <= MAX_OFFSET).float() * on
    off = F.smooth_l1_loss(outputs[:, 4:], offsets, reduction="none", beta=0.05).sum(1)
    losses["offset"] = (off * learned).sum() / (learned.sum() + 1)
    return losses


class ObjectTrainer:
    """The network, its replica, their optimizer and checkpoints.

    Parameters
    ----------
    folder
        Folder of the checkpoints; training resumes from one in it.
    loss
        Loss of the class logits.
    seed
        Seed of the initial weights.
    weights
        Checkpoint to start from, such as ``two_scale.safetensors``. None: a warm start from the shipped model.
    """

    def __init__(self, folder: Path, loss: Loss, seed: int, weights: Path | None = None) -> None:
        torch.manual_seed(seed)
        self.folder, self.loss, self.step = folder, loss, 0
        network = TwoScaleUNet(3, len(loss.weights))
        warm_start(network, load_model().network.state_dict())
        if weights is not None:
            stored = {name: tensor.float() for name, tensor in load_file(weights).items()}
            network.load_state_dict(stored, strict=False)  # without the counters of batches
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze(self.network.train(), FINE_STAGES_FROZEN)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p], "factor": _factor(n), "weight_decay": 1e-2 if p.ndim > 1 else 0.0}
                for n, p in self.network.named_parameters()
                if p.requires_grad
            ],
            lr=RATE,
        )
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        path = folder / "state.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.step, self.average = state["step"], state["average"]
            self.network.load_state_dict(state["weights"])
            self.optimizer.load_state_dict(state["optimizer"])
        self.replicas = [self.network, self._replicate()]

    def _replicate(self) -> TwoScaleUNet:
        """Return a copy that shares the parameters, but neither gradients nor batch statistics."""
        replica: TwoScaleUNet = copy.deepcopy(self.network)
        for ours, theirs in zip(self.network.parameters(), replica.parameters(), strict=True):
            theirs.data = ours.data
        return replica

    def train_step(
        self, pool: ThreadPoolExecutor, batches: Sequence[ObjectBatch], rate: float
    ) -> dict[str, float]:
        """Compute the batches of one step, update the weights and return the mean losses."""
        queue: SimpleQueue[ObjectBatch] = SimpleQueue()
        for batch in batches:
            queue.put(batch)
        for replica in self.replicas:
            replica.zero_grad(set_to_none=True)
        parts = pool.map(lambda replica: self._compute(replica, queue, len(batches)), self.replicas)
        losses = [one for part in parts for one in part]
        self._gather()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        decay = min(EMA, self.step / (10 + self.step))
        for name, tensor in self.network.state_dict().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, 1 - decay)
        return {n: float(np.mean([one[n] for one in losses])) for n in losses[0]}

    def _compute(
        self, replica: TwoScaleUNet, queue: SimpleQueue[ObjectBatch], batches: int
    ) -> list[dict[str, float]]:
        """Add the gradients of batches of the queue to a replica until it is empty."""
        results: list[dict[str, float]] = []
        while True:
            try:
                batch = queue.get_nowait()
            except Empty:
                return results
            outputs = replica(batch.inputs)
            logits, objects = outputs[:, : replica.classes], outputs[:, replica.classes :]
            losses = {"classes": self.loss(logits, batch.labels), **object_losses(objects, batch)}
            factors = {"classes": 1.0, **OBJECT_LOSSES}
            total = torch.stack([factors[name] * loss for name, loss in losses.items()]).sum()
            if not total.isfinite():
                raise FloatingPointError("the loss is not finite. Lower RATE")
            (total / batches).backward()  # type: ignore[no-untyped-call]
            results.append({name: loss.item() for name, loss in losses.items()})

    @torch.no_grad()
    def _gather(self) -> None:
        """Add the gradients of the replica to the network's, and average their batch statistics."""
        main, other = self.replicas
        for ours, theirs in zip(main.parameters(), other.parameters(), strict=True):
            if theirs.grad is not None:
                ours.grad = theirs.grad if ours.grad is None else ours.grad.add_(theirs.grad)
        for mine, its in zip(main.buffers(), other.buffers(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(its, 0.5)
                its.copy_(mine)

    def save(self) -> None:
        """Write everything that the next step depends on, and the average as float16."""
        state = {
            "step": self.step,
            "average": self.average,
            "weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with replacing(self.folder / "state.pt", overwrite=True) as scratch:
            torch.save(state, scratch)
        half = {k: v.half().contiguous() for k, v in self.average.items() if v.is_floating_point()}
        with replacing(self.folder / "checkpoint.safetensors", overwrite=True) as scratch:
            save_file(half, scratch, metadata={"step": str(self.step)})


def _factor(name: str) -> float:
    return HEAD_RATE / RATE if name.startswith(("sharpen.", "subpixel.")) else 1.0


def read_steps(sampler: ObjectSampler, first: int) -> Generator[list[ObjectBatch]]:
    """Yield the batches of each step from `first` on, read ahead by a thread."""

    def read(step: int) -> list[ObjectBatch]:
        start = step * BATCH
        return [
            make_batch([sampler.draw_with_targets(n) for n in range(b, b + MICRO_BATCH)])
            for b in range(start, start + BATCH, MICRO_BATCH)
        ]

    pool = ThreadPoolExecutor(1)
    pending: deque[Future[list[ObjectBatch]]] = deque()
    try:
        while True:
            while len(pending) < 3:
                pending.append(pool.submit(read, first))
                first += 1
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def build_trainer(
    dataset: Dataset, folder: Path, seed: int, weights: Path | None = None
) -> ObjectTrainer:
    """Return the trainer of a dataset, with class weights from its training split."""
    counts = dataset.layers[OUTLINES].splits["train"].pixels
    pixels = [counts[name] for name in dataset.legend.names]
    of_classes = torch.tensor(
        class_weights(pixels, LOSS.weights, cap=LOSS.cap), dtype=torch.float32
    )
    return ObjectTrainer(folder, Loss(of_classes, LOSS), seed, weights)


def main() -> None:
    """Train until the time is over."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, help="start from this checkpoint")
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    began = saved = time.monotonic()
    end = began + 60 * args.minutes
    args.folder.mkdir(parents=True, exist_ok=True)
    dataset = Dataset.open(args.dataset)
    trainer = build_trainer(dataset, args.folder, args.seed, args.weights)
    reader = SplitReader(dataset, "train", layer=OUTLINES, difficult="keep")
    sampler = ObjectSampler(reader, seed=args.seed, data=DATA, augment=AUGMENT)
    with (
        ThreadPoolExecutor(2) as pool,
        (args.folder / "log.jsonl").open("a", encoding="utf-8") as log,
        closing(read_steps(sampler, trainer.step)) as steps,
    ):
        for batches in steps:
            now = time.monotonic()
            if now >= end:
                break
            cooling = 0.02 + 0.98 * (end - now) / COOLDOWN
            rate = RATE * min(1.0, (trainer.step + 1) / WARMUP, cooling)
            losses = trainer.train_step(pool, batches, rate)
            line = {"step": trainer.step, "rate": rate, "seconds": round(now - began), **losses}
            print(json.dumps(line), file=log, flush=True)
            if now - saved > CHECKPOINT_SECONDS:
                trainer.save()
                saved = now
    trainer.save()


if __name__ == "__main__":
    main()
