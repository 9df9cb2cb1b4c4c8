"""Random evaluations in the format of `geoseg evaluate --json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geoseg.legend import DOTA_V1, Legend, LegendClass
from geoseg.metrics.object_errors import PREDICTED_KINDS, REFERENCE_KINDS
from geoseg.metrics.object_scores import AP_NAMES

LEGEND = Legend(DOTA_V1.classes)


def legend_of(names: Sequence[str]) -> Legend:
    """Create a legend with background, the given names and the colours of DOTA."""
    named = ["background", *names]
    return Legend(tuple(LegendClass(k, n, DOTA_V1[k].colour) for k, n in enumerate(named)))


def evaluation(
    *, truth: str = "outlines", legend: Legend = LEGEND, scenes: int = 30, seed: int = 0
) -> dict[str, Any]:
    """Create an evaluation with all parts."""
    rng = np.random.default_rng(seed)
    size = len(legend)
    matrix = rng.integers(0, 2_000, (size, size))
    matrix[np.diag_indices(size)] = 10 ** rng.uniform(2, 5, size)
    matrix[0] *= 40
    truths, labels, hits = matrix.sum(1), matrix.sum(0), np.diag(matrix)
    iou = hits / (truths + labels - hits)

    def objects() -> dict[str, Any]:
        true, found = (int(n) for n in rng.integers(5, 3_000, 2))
        matched = int(min(true, found) * rng.uniform(0, 1))
        quality = dict(zip(("pq", "sq", "rq"), rng.uniform(0, 1, 3).tolist(), strict=True))
        return {
            "truth": true,
            "found": found,
            "matched": matched,
            "precision": matched / found,
            "recall": matched / true,
            "f1": 2 * matched / (true + found),
            "ap": dict(zip(AP_NAMES, rng.uniform(0, 1, 6).tolist(), strict=True)),
            "panoptic": quality,
            "kinds": {
                "truth": split(REFERENCE_KINDS, matched, true - matched),
                "found": split(PREDICTED_KINDS, matched, found - matched),
            },
            **({"box_ap50": float(rng.uniform())} if truth == "quads" else {}),
        }

    def split(kinds: Sequence[str], matched: int, others: int) -> dict[str, int]:
        shares = rng.dirichlet(np.ones(len(kinds) - 1))
        numbers = [matched, *rng.multinomial(others, shares).tolist()]
        return dict(zip(kinds, numbers, strict=True))

    def around(value: float) -> list[float]:
        low, high = value - rng.uniform(0, 0.1), value + rng.uniform(0, 0.1)
        return [max(0.0, low), min(1.0, high)]

    classes = {
        c.name: {
            "iou": float(iou[c.id]),
            "precision": float(hits[c.id] / labels[c.id]),
            "recall": float(hits[c.id] / truths[c.id]),
            "f1": float(2 * hits[c.id] / (truths[c.id] + labels[c.id])),
            "boundary_iou": float(iou[c.id] * 0.6),
            "pixels": int(truths[c.id]),
            "predicted": int(labels[c.id]),
            "interval": around(float(iou[c.id])),
        }
        for c in legend
    }
    for c in legend.objects:
        by_size = {size: objects() for size in ("small", "medium", "large")}
        f1 = (whole := objects())["f1"]
        classes[c.name]["objects"] = {**whole, "interval": around(f1), "by_size": by_size}
    return {
        "model": "drawn.safetensors",
        "dataset": "drawn",
        "split": "val",
        "truth": truth,
        "scenes": scenes,
        "legend": legend.to_json(),
        "miou": float(iou[1:].mean()),
        "miou_with_background": float(iou.mean()),
        "fwiou": float((iou * truths).sum() / truths.sum()),
        "accuracy": float(hits.sum() / truths.sum()),
        "boundary_miou": float(iou[1:].mean() * 0.6),
        "pixels": int(matrix.sum()),
        "intervals": {"miou": around(float(iou[1:].mean())), "level": 0.95, "resamples": 1000},
        "classes": classes,
        "objects": {**objects(), "iou": 0.5},
        "calibration": _calibration(rng),
        "threshold": {
            "overall": {"confidence": 0.45, "miou": 0.4, "gain": 0.012},
            "classes": {
                c.name: {
                    "confidence": float(rng.integers(0, 200) / 200),
                    "iou": float(iou[c.id]) + 0.01,
                    "gain": 0.01,
                }
                for c in legend.objects
            },
        },
        "by_scene": {
            f"scene{k:03}": {
                "miou": None if k % 10 == 9 else float(rng.beta(2, 3)),
                "pixels": 512 * 512,
                "classes": {c.name: float(rng.uniform()) for c in legend.objects[k % 3 :: 4]},
                "objects": {
                    c.name: {"truth": int(n), "found": int(n * rng.uniform(0.5, 1.5))}
                    for c, n in zip(
                        legend.objects, 10 ** rng.uniform(0, 3, len(legend)), strict=False
                    )
                },
            }
            for k in range(scenes)
        },
        "confusion": matrix.tolist(),
    }


def counts(*, legend: Legend = LEGEND, seed: int = 0) -> dict[str, Any]:
    """Create class counts; quads have one to four times the pixels of outlines."""
    rng = np.random.default_rng(seed)
    objects = {c.name: int(10 ** rng.uniform(0, 5)) for c in legend.objects}
    outlines = {c.name: int(10 ** rng.uniform(3, 7)) for c in legend}
    quads = {name: int(pixels * rng.uniform(1, 4)) for name, pixels in outlines.items()}
    return {
        "quads": {"objects": objects, "pixels": quads},
        "outlines": {"objects": objects, "pixels": outlines},
    }


def log(lines: int = 60) -> list[dict[str, Any]]:
    """Create the log of a training."""
    return [
        {
            "step": 20 * (k + 1),
            "loss": 2 * 0.96**k + 0.2,
            "miou": 0.4 * (1 - 0.95**k) if k % 6 == 5 else None,
        }
        for k in range(lines)
    ]


def _calibration(rng: np.random.Generator) -> dict[str, Any]:
    bins = []
    for k in range(20):
        empty = k < 3
        confidence = None if empty else (k + 0.5) / 20
        accuracy = None if confidence is None else float(confidence * rng.uniform(0.7, 1))
        pixels = 0 if empty else int(10 ** (3 + k / 5))
        ends = {"from": k / 20, "to": (k + 1) / 20}
        bins.append({**ends, "confidence": confidence, "accuracy": accuracy, "pixels": pixels})
    return {"bins": bins, "ece": 0.043, "objects": {"bins": bins[5:], "ece": 0.09}}
