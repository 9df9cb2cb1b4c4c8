"""Frames of a scene to annotate next: a grid of frames, what each contains, and their ranks.

A frame is worth annotating if its pixels are uncertain, if it differs from frames that are annotated or chosen
already, and if it has classes that those lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

MIN_SHARE = 0.5
"""Smallest share of a frame that is valid and not annotated yet, if it is to be suggested; and smallest share that is
annotated, if other frames are to differ from it."""

CLASS_PIXELS = 16
"""Pixels of a class from which on it occurs in a frame."""

_CERTAIN = 1e-3
"""Added to the uncertainty, so that other criteria decide between frames without any."""

_SAMPLE = 128  # pixels along a side by which bands are measured
_SMALLEST, _LARGEST = 64, 512
_PER_FRAME = 4  # candidates in the grid for each frame that is asked for
_LISTED = 3  # classes that a reason lists


def choose_frame_size(width: int, height: int, frames: int, *, largest: int = _LARGEST) -> int:
    """Return the side of frames: at most `largest` pixels, and so that there are four times as many as asked for.

    Examples
    --------
    >>> choose_frame_size(20_000, 20_000, 8), choose_frame_size(1_000, 1_000, 8)
    (512, 176)
    """
    return max(_SMALLEST, min(largest, int(sqrt(width * height / (_PER_FRAME * frames)))))


def frame_grid(width: int, height: int, size: int) -> list[Window]:
    """Cut a scene into frames of equal size of at most `size` pixels a side, row by row; they partition it."""
    rows, columns = (
        np.linspace(0, length, ceil(length / size) + 1).round().astype(int).tolist()
        for length in (height, width)
    )
    return [
        Window(left, top, right - left, bottom - top)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


@dataclass(frozen=True, slots=True)
class FrameContent:
    """What the counted pixels of a frame contain."""

    share: float
    """Counted pixels per pixel of the frame."""

    uncertainty: float
    """Mean, 0 to 1."""

    classes: NDArray[np.int64]
    """(classes,) predicted pixels by class ID."""

    mean: NDArray[np.float64]
    """(bands,) mean of the pixels."""

    std: NDArray[np.float64]
    """(bands,) standard deviation."""


def measure_frame(
    pixels: NDArray[np.generic],
    labels: NDArray[np.uint8],
    uncertainty: NDArray[np.uint8],
    counted: NDArray[np.bool_],
    classes: int,
) -> FrameContent:
    """Measure the content of a frame.

    Parameters
    ----------
    pixels
        (bands, h, w) of the scene.
    labels
        (h, w) predicted class IDs.
    uncertainty
        (h, w) 0 to 200 for 0 to 1.
    counted
        (h, w) True for the pixels to measure.
    classes
        Number of classes.

    Notes
    -----
    Mean and standard deviation of the bands are those of a regular sample of at most about 128 x 128 pixels.
    """
    step = max(1, min(counted.shape) // _SAMPLE)
    chosen = pixels[:, ::step, ::step][:, counted[::step, ::step]].astype(np.float64)
    bands, sampled = chosen.shape
    nothing = np.zeros(bands)
    number = int(np.count_nonzero(counted))
    return FrameContent(
        share=number / counted.size,
        uncertainty=float(uncertainty[counted].mean() / 200) if number else 0.0,
        classes=np.bincount(labels[counted], minlength=classes)[:classes],
        mean=chosen.mean(axis=1) if sampled else nothing,
        std=chosen.std(axis=1) if sampled else nothing,
    )


@dataclass(frozen=True, slots=True)
class RankedFrame:
    """A frame to annotate."""

    index: int
    """Position among the candidates."""

    uncertainty: float
    """Mean, 0 to 1."""

    classes: tuple[int, ...]
    """IDs of the predicted classes that occur in it, without background, the one with most pixels first."""

    new: tuple[int, ...] = ()
    """Those that occur in no annotated frame, and in none of a better rank."""

    distance: float = 0.0
    """Distance to the nearest annotated or better ranked frame, per mean of the candidates; 0: there is none."""


def rank_frames(
    candidates: Sequence[FrameContent], annotated: Sequence[FrameContent], count: int
) -> list[RankedFrame]:
    """Choose the frames to annotate next, the best first.

    Parameters
    ----------
    candidates
        Frames to choose from; those with less than `MIN_SHARE` counted pixels are left out.
    annotated
        The annotated pixels of all frames. Their classes are known; those with at least `MIN_SHARE` count for the
        distance.
    count
        Number of frames; fewer if there are no more.

    Notes
    -----
    One after the other, the frame with the largest score is chosen:

        score = (uncertainty + 0.001) · distance · (1 + Σ rarity)

    *uncertainty* is the mean entropy of its pixels (Settles 2009, Active Learning Literature Survey, section 3.1).
    *distance* is that to the nearest annotated or chosen frame in the space of `frame_features`: the greedy solution of
    the k-center problem (Gonzalez 1985), which Sener and Savarese (2018, Active Learning for Convolutional Neural
    Networks: A Core-Set Approach, algorithm 1) use to choose a batch. It is 1 while there is no such frame. The sum is
    over the classes of the frame that occur in none of them; the *rarity* of a class is 1 minus the share of the
    candidates in which it occurs. Equal scores are decided by the order of the candidates.
    """
    usable = [n for n, frame in enumerate(candidates) if frame.share >= MIN_SHARE]
    if not usable:
        return []
    frames = [candidates[n] for n in usable]
    centres = [frame for frame in annotated if frame.share >= MIN_SHARE]
    features = frame_features([*frames, *centres])
    occurs = np.array([frame.classes >= CLASS_PIXELS for frame in frames])
    occurs[:, 0] = False
    rarity = 1 - occurs.mean(axis=0)
    known = np.zeros(occurs.shape[1], bool)
    for frame in annotated:
        known |= frame.classes >= CLASS_PIXELS
    uncertainty = np.array([frame.uncertainty for frame in frames])
    distance = np.full(len(frames), np.inf)
    for centre in features[len(frames) :]:
        distance = _approach(distance, features[: len(frames)], centre)
    free = np.ones(len(frames), bool)
    ranked: list[RankedFrame] = []
    for _ in range(min(count, len(frames))):
        new = occurs & ~known
        apart = np.where(np.isinf(distance), 1.0, distance)
        score = (uncertainty + _CERTAIN) * apart * (1 + new @ rarity)
        best = int(np.where(free, score, -1.0).argmax())
        mean = apart[free].mean()
        ratio = 0.0 if np.isinf(distance[best]) or not mean else float(apart[best] / mean)
        order = np.argsort(-frames[best].classes, kind="stable")
        ranked.append(
            RankedFrame(
                usable[best],
                float(uncertainty[best]),
                tuple(int(c) for c in order if occurs[best, c]),
                tuple(int(c) for c in order if new[best, c]),
                ratio,
            )
        )
        free[best] = False
        known |= occurs[best]
        distance = _approach(distance, features[: len(frames)], features[best])
    return ranked


def frame_features(frames: Sequence[FrameContent]) -> NDArray[np.float64]:
    """Return (frames, features) whose Euclidean distances compare contents.

    Square roots of the shares of the classes, whose distance is that of Hellinger, 0 to 1; and mean and standard
    deviation of every band, standardised over the frames and divided by the square root of twice their number, so that
    both parts weigh about the same.
    """
    shares = np.array([frame.classes / max(1, frame.classes.sum()) for frame in frames])
    pixels = np.array([np.concatenate([frame.mean, frame.std]) for frame in frames])
    spread = pixels.std(axis=0)
    scaled = (pixels - pixels.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return np.hstack([np.sqrt(shares / 2), scaled / np.sqrt(2 * scaled.shape[1])])


def _approach(
    distance: NDArray[np.float64], features: NDArray[np.float64], centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return distances to the nearest centre, with one more centre."""
    apart: NDArray[np.float64] = np.linalg.norm(features - centre, axis=1)
    return np.minimum(distance, apart)


def describe_reason(frame: RankedFrame, mean: float, names: Sequence[str]) -> str:
    """Return why a frame was chosen.

    Parameters
    ----------
    frame
        The frame.
    mean
        Mean uncertainty of the candidates.
    names
        Names of the classes by ID.
    """
    reasons = []
    if mean > 0:
        reasons.append(f"uncertainty {frame.uncertainty / mean:.1f} times the mean")
    if frame.new:
        listed = ", ".join(names[c] for c in frame.new[:_LISTED])
        more = len(frame.new) - _LISTED
        reasons.append(f"first frame with {listed}" + (f" and {more} more" if more > 0 else ""))
    if frame.distance:
        reasons.append(f"distance to the other frames {frame.distance:.1f} times the mean")
    return "; ".join(reasons)
