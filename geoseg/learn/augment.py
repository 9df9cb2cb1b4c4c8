"""Changes of a training window: where its pixels come from, and their colours."""

from __future__ import annotations

from math import exp, log

import cv2
import numpy as np
from affine import Affine
from numpy.random import Generator
from numpy.typing import NDArray

from geoseg.learn.config import Augment


def orientation(rng: Generator, augment: Augment) -> Affine:
    """A random flip, turn, rotation and zoom around the origin."""
    zoom = exp(rng.uniform(log(augment.scale[0]), log(augment.scale[1])))
    angle = 90.0 * rng.integers(4) if augment.turn else 0.0
    if rng.random() < augment.rotate:
        angle += rng.uniform(-45, 45)
    flip = -1.0 if augment.flip and rng.random() < 0.5 else 1.0
    return Affine.rotation(angle) @ Affine.scale(flip * zoom, zoom)


def warp(
    pixels: NDArray[np.uint8], transform: Affine, size: int, *, nearest: bool = False
) -> NDArray[np.uint8]:
    """Pixels (h, w) or (h, w, bands) seen through `transform` (their pixels → new pixels) in a square of
    `size`; outside is 0."""
    # OpenCV counts from pixel centres, we count from pixel corners
    centred = Affine.translation(-0.5, -0.5) @ transform @ Affine.translation(0.5, 0.5)
    matrix = np.array(centred[:6], np.float64).reshape(2, 3)
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(pixels, matrix, (size, size), flags=flags), np.uint8)


def jitter(rng: Generator, pixels: NDArray[np.uint8], augment: Augment) -> NDArray[np.uint8]:
    """Pixels (h, w, bands) uint8 with other brightness and contrast; of three bands also other saturation
    and hue."""
    brightness, contrast, saturation, hue = rng.uniform(-1, 1, 4) * (
        augment.brightness,
        augment.contrast,
        augment.saturation,
        augment.hue,
    )
    if pixels.shape[2] == 3 and (saturation or hue):
        hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + 180 * hue) % 180
        hsv[..., 1] *= 1 + saturation
        hsv = hsv.clip(0, (179, 255, 255)).astype(np.uint8)
        pixels = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
    levels = (np.arange(256) - 127.5) * (1 + contrast) + 127.5 + 255 * brightness
    changed: NDArray[np.uint8] = levels.clip(0, 255).astype(np.uint8)[pixels]
    return changed
