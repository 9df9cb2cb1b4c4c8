"""Changes of a training window: where its pixels come from, and their colours."""

from __future__ import annotations

from math import exp, log, sqrt

import cv2
import numpy as np
from affine import Affine
from numpy.random import Generator
from numpy.typing import NDArray

from geoseg.training.config import AugmentSection


def orientation(
    rng: Generator, augment: AugmentSection, pixel_size_m: float | None = None
) -> Affine:
    """A random flip, turn, rotation and zoom around the origin.

    The zoom leads from pixels of `pixel_size_m` metres (None: not known) to one of the sizes that
    ``augment.pixel_size_m`` asks for; without either it is one of ``augment.scale``.
    """
    if augment.pixel_size_m and pixel_size_m:
        zoom = pixel_size_m / _between(rng, *augment.pixel_size_m)
    else:
        zoom = _between(rng, *augment.scale)
    return turned(rng, augment) @ Affine.scale(zoom)


def turned(rng: Generator, augment: AugmentSection) -> Affine:
    """A random flip, turn and rotation around the origin."""
    angle = 90.0 * rng.integers(4) if augment.rotate90 else 0.0
    if rng.random() < augment.rotate:
        angle += rng.uniform(-45, 45)
    flip = -1.0 if augment.flip and rng.random() < 0.5 else 1.0
    return Affine.rotation(angle) @ Affine.scale(flip, 1)


def warp(
    pixels: NDArray[np.uint8], transform: Affine, size: int, *, nearest: bool = False
) -> NDArray[np.uint8]:
    """Pixels (h, w) or (h, w, bands) seen through `transform` (their pixels → new pixels) in a square of
    `size`; outside is 0.

    Where it shrinks by two or more, what is seen is the mean of whole pixels, so that nothing flickers; with
    `nearest` it is one of them.
    """
    if not nearest:
        pixels, transform = _shrunk(pixels, transform)
    # OpenCV counts from pixel centres, we count from pixel corners
    centred = Affine.translation(-0.5, -0.5) @ transform @ Affine.translation(0.5, 0.5)
    matrix = np.array(centred[:6], np.float64).reshape(2, 3)
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(pixels, matrix, (size, size), flags=flags), np.uint8)


def _shrunk(pixels: NDArray[np.uint8], transform: Affine) -> tuple[NDArray[np.uint8], Affine]:
    """Means of squares of pixels, as large as `transform` shrinks, and the transform from there."""
    factor = int(1 / sqrt(abs(transform.determinant)) + 1e-9)
    if factor < 2:
        return pixels, transform
    height, width = (-(-length // factor) * factor for length in pixels.shape[:2])
    bottom, right = height - pixels.shape[0], width - pixels.shape[1]
    whole = cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    size = (width // factor, height // factor)
    means = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8)
    return means, transform @ Affine.scale(factor)


def jitter(rng: Generator, pixels: NDArray[np.uint8], augment: AugmentSection) -> NDArray[np.uint8]:
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


def blur_and_noise(
    rng: Generator, pixels: NDArray[np.uint8], augment: AugmentSection
) -> NDArray[np.uint8]:
    """Pixels (h, w, bands) uint8, blurred by a Gaussian or not, with Gaussian noise or not."""
    if rng.random() < augment.blur:
        blurred = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.3, 1.5))
        pixels = np.asarray(blurred, np.uint8).reshape(pixels.shape)
    if augment.noise:
        deviation = 255 * rng.uniform(0, augment.noise)
        noise = deviation * rng.standard_normal(pixels.shape, np.float32)
        pixels = (pixels + noise).round().clip(0, 255).astype(np.uint8)
    return pixels


def _between(rng: Generator, low: float, high: float) -> float:
    """Drawn evenly in the logarithm."""
    return exp(rng.uniform(log(low), log(high)))
