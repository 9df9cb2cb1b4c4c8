import numpy as np
import pytest
from affine import Affine

from geoseg.learn.augment import jitter, orientation, warp
from geoseg.learn.config import Augment

STILL = Augment(
    flip=False, turn=False, brightness=0, contrast=0, saturation=0, hue=0, scale=(1.0, 1.0)
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
    augment = Augment(scale=(0.5, 2.0))
    drawn = [orientation(rng, augment) for _ in range(300)]
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
    assert orientation(rng, STILL).almost_equals(Affine.identity())
    assert (jitter(rng, pixels, STILL) == pixels).all()


def test_jitter_keeps_shape_and_type_for_any_number_of_bands() -> None:
    rng = np.random.default_rng(0)
    for bands in (1, 3, 4):
        pixels = rng.integers(0, 256, (8, 8, bands)).astype(np.uint8)
        changed = jitter(rng, pixels, Augment(brightness=0.5))
        assert changed.shape == pixels.shape
        assert changed.dtype == np.uint8
        assert (changed != pixels).any()
