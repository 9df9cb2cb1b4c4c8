import numpy as np
import pytest
from affine import Affine

from geoseg.training.augmentation import blur_and_add_noise, draw_transform, jitter_colours
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
