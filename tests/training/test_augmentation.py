from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from geoseg.training.augmentation import (
    ValueRange,
    blur_and_add_noise,
    draw_transform,
    jitter_colours,
)
from geoseg.training.config import AugmentSection
from geoseg.training.windows import warp

STILL = AugmentSection(
    flip=False, rotate90=False, brightness=0, contrast=0, saturation=0, hue=0, scale=(1.0, 1.0)
)


def test_a_warp_by_whole_pixels_copies_them() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    assert (warp(pixels, Affine.translation(-5, -2), 10) == pixels[2:12, 5:15]).all()


def test_a_quarter_turn_is_exact() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    turned = warp(pixels, Affine(0, -1, 16, 1, 0, 0), 16)
    assert (turned == np.rot90(pixels, -1)).all()


def test_beyond_the_pixels_there_is_nothing() -> None:
    ones = np.full((4, 4), 255, np.uint8)
    seen = warp(ones, Affine.translation(2, 1), 8, nearest=True)
    assert seen[1:5, 2:6].all()
    assert seen.sum() == 16 * 255


def test_every_flip_turn_and_zoom_occurs_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    augment = AugmentSection(scale=(0.5, 2.0))
    drawn = [draw_transform(rng, augment) for _ in range(300)]
    zooms = np.array([abs(t.determinant) ** 0.5 for t in drawn])
    assert zooms.min() == pytest.approx(0.5, rel=0.05)
    assert zooms.max() == pytest.approx(2.0, rel=0.05)
    signs = {
        tuple(np.round(np.array([t.a, t.b, t.d, t.e]) / zoom).astype(int))
        for t, zoom in zip(drawn, zooms, strict=True)
    }
    assert len(signs) == 8


def test_without_switches_nothing_changes() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    assert draw_transform(rng, STILL).almost_equals(Affine.identity())
    assert (jitter_colours(rng, pixels, STILL) == pixels).all()


def test_jitter_keeps_shape_and_type_for_any_number_of_bands() -> None:
    rng = np.random.default_rng(0)
    for bands in (1, 3, 4):
        pixels = rng.integers(0, 256, (8, 8, bands)).astype(np.uint8)
        changed = jitter_colours(rng, pixels, AugmentSection(brightness=0.5))
        assert changed.shape == pixels.shape
        assert changed.dtype == np.uint8
        assert (changed != pixels).any()


def test_the_zoom_leads_to_the_size_on_the_ground_that_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    augment = AugmentSection(pixel_size_m=(0.4, 0.4), scale=(3.0, 3.0))
    known, unknown = draw_transform(rng, augment, 0.1), draw_transform(rng, augment, None)
    assert abs(known.determinant) ** 0.5 == pytest.approx(0.25)
    assert abs(unknown.determinant) ** 0.5 == pytest.approx(3.0)  # as `scale` says


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_a_window_that_shrinks_shows_the_mean_of_its_pixels(factor: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 30, 3)).astype(np.uint8)
    side = 30 // factor
    seen = warp(pixels, Affine.scale(1 / factor), side)
    means = pixels.reshape(side, factor, side, factor, 3).mean((1, 3))
    assert np.abs(seen - means).max() <= 0.5 + 1e-9


def test_blur_takes_contrast_and_noise_adds_it() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 190, (64, 64, 3)).astype(np.uint8)
    blurred = blur_and_add_noise(rng, pixels, AugmentSection(blur=1.0))
    assert blurred.std() < pixels.std()
    assert blurred.mean() == pytest.approx(pixels.mean(), abs=1)
    deviations = [
        (blur_and_add_noise(rng, pixels, AugmentSection(noise=0.1)).astype(int) - pixels).std()
        for _ in range(60)
    ]
    assert max(deviations) == pytest.approx(25.5, rel=0.15)
    assert np.mean(deviations) == pytest.approx(25.5 / 2, rel=0.3)
    assert (blur_and_add_noise(rng, pixels, AugmentSection()) == pixels).all()
    one_band = blur_and_add_noise(rng, pixels[..., :1], AugmentSection(blur=1.0, noise=0.1))
    assert one_band.shape == (64, 64, 1)


DTYPES = ["uint8", "uint16", "int16", "float32"]


def draw_bands(bands: int, dtype: str, *, side: int = 40) -> NDArray[Any]:
    """(side, side, bands) of noise over some of the range of the data type."""
    low, high = {"uint8": (0, 255), "uint16": (0, 9000), "int16": (-3000, 3000)}.get(dtype, (0, 1))
    noise = np.random.default_rng(bands).uniform(low, high, (side, side, bands))
    return noise.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bands", [1, 2, 4, 5, 13, 200])
@pytest.mark.parametrize("scale", [0.3, 1.7])
def test_each_band_is_resampled_and_blurred_as_if_it_were_alone(
    bands: int, dtype: str, scale: float
) -> None:
    pixels = draw_bands(bands, dtype)
    transform = Affine.rotation(20) @ Affine.scale(scale)
    changes: list[Callable[[NDArray[Any]], NDArray[Any]]] = [
        lambda image: warp(image, transform, 32),
        lambda image: warp(image, transform, 32, nearest=True),
        lambda image: blur_and_add_noise(np.random.default_rng(0), image, AugmentSection(blur=1.0)),
    ]
    for change in changes:
        together = change(pixels)
        assert together.dtype == dtype
        for band in {0, bands // 2, bands - 1}:
            alone = change(np.ascontiguousarray(pixels[..., band : band + 1]))
            assert alone.shape[2] == 1
            np.testing.assert_allclose(together[..., band], alone[..., 0], rtol=1e-5, atol=1e-4)


def test_eight_bit_colours_change_by_the_formula_of_hue_saturation_and_levels() -> None:
    pixels, augment = draw_bands(3, "uint8"), AugmentSection(hue=0.2, noise=0.1)
    for seed in range(5):
        brightness, contrast, saturation, hue = np.random.default_rng(seed).uniform(-1, 1, 4) * (
            *(augment.brightness, augment.contrast, augment.saturation, augment.hue),
        )
        hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + 180 * hue) % 180
        hsv[..., 1] *= 1 + saturation
        colours = cv2.cvtColor(hsv.clip(0, (179, 255, 255)).astype(np.uint8), cv2.COLOR_HSV2RGB)
        levels = (np.arange(256) - 127.5) * (1 + contrast) + 127.5 + 255 * brightness
        expected = levels.clip(0, 255).astype(np.uint8)[colours]
        found = jitter_colours(np.random.default_rng(seed), pixels, augment)
        assert (found == expected).all()
        rng = np.random.default_rng(seed)
        rng.random()  # whether to blur
        noise = 255 * rng.uniform(0, 0.1) * rng.standard_normal(pixels.shape, np.float32)
        expected = (pixels + noise).round().clip(0, 255).astype(np.uint8)
        found = blur_and_add_noise(np.random.default_rng(seed), pixels, augment)
        assert (found == expected).all()


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_brightness_contrast_and_noise_are_relative_to_the_range_of_a_band(dtype: str) -> None:
    augment = AugmentSection(brightness=0.3, contrast=0.2, saturation=0, hue=0, noise=0.1)
    pixels = np.stack([draw_bands(1, dtype)[..., 0], draw_bands(1, dtype)[..., 0]], axis=2)
    pixels[..., 1] = pixels[..., 1] / 10  # a band with a tenth of the range
    bounds = tuple((float(band.min()), float(band.max())) for band in np.moveaxis(pixels, 2, 0))
    values = ValueRange(bounds, is_rgb=False)
    rounding = 1 if np.dtype(dtype).kind in "iu" else 0
    for seed in range(5):
        rng, other = np.random.default_rng(seed), np.random.default_rng(seed)
        changed = jitter_colours(rng, pixels, augment, values).astype(float)
        brightness, contrast, *_ = other.uniform(-1, 1, 4) * (0.3, 0.2, 0, 0)
        for band, (low, high) in enumerate(bounds):
            relative = (pixels[..., band] - low) / (high - low) - 0.5
            expected = low + (relative * (1 + contrast) + 0.5 + brightness) * (high - low)
            if dtype == "uint16":
                expected = expected.clip(0)
            error = np.abs(changed[..., band] - expected).max()
            assert error <= rounding + 1e-5 * (high - low)
        noisy = blur_and_add_noise(rng, pixels, augment, values) - pixels.astype(float)
        spread = noisy[5:-5, 5:-5].std((0, 1))
        if dtype != "uint16":  # whose noise is cut off at 0
            assert spread[0] / spread[1] == pytest.approx(10, rel=0.3)


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_hue_and_saturation_of_colours_leave_greys_unchanged(dtype: str) -> None:
    augment = AugmentSection(brightness=0, contrast=0, saturation=0.9, hue=0.5)
    grey = draw_bands(1, dtype).repeat(3, axis=2)
    span = float(grey.max()) - float(grey.min())
    values = ValueRange(((float(grey.min()), float(grey.max())),) * 3, is_rgb=True)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(
        jitter_colours(rng, grey, augment, values).astype(float), grey, atol=1e-4 * span + 1
    )
    colours = draw_bands(3, dtype)
    changed = jitter_colours(rng, colours, augment, values).astype(float)
    assert np.abs(changed - colours).max() > 0.1 * span
    brightest = np.abs(changed.max(2) - colours.max(2))
    assert brightest.max() <= 1e-4 * span + 1  # hue and saturation keep the value
    unnamed = jitter_colours(rng, colours, augment, ValueRange(values.bounds, is_rgb=False))
    np.testing.assert_allclose(unnamed.astype(float), colours, atol=1e-4 * span)
