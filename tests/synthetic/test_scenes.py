"""Labels of synthetic scenes agree with their images."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations, burn
from geoseg.legend import DOTA_V1
from geoseg.synthetic.layout import LAND_USES
from geoseg.synthetic.render import Image
from geoseg.synthetic.scenes import (
    PIXEL_SIZE,
    SIDE,
    SUBURB,
    Label,
    SyntheticScene,
    label_elements,
    plan_scenes,
)
from geoseg.synthetic.shapes import SOLID, Element, Shape, make_labelled
from geoseg.synthetic.vehicles import helicopter

Inside = NDArray[np.bool_]

# most frequent first, as in DOTA's training scenes
DOTA_ORDER = (
    "small-vehicle",
    "ship",
    "large-vehicle",
    "storage-tank",
    "plane",
    "harbor",
    "swimming-pool",
    "helicopter",
    "tennis-court",
    "soccer-ball-field",
    "bridge",
    "ground-track-field",
    "basketball-court",
    "baseball-diamond",
    "roundabout",
)


SQUARE = np.array([(-2.0, -2.0), (2.0, -2.0), (2.0, 2.0), (-2.0, 2.0)])


def square_car() -> Element:
    return make_labelled("small-vehicle", [Shape(SQUARE, (200, 0, 0))], 4, 4, level=1)


@pytest.fixture(scope="module")
def truths() -> dict[str, list[Label]]:
    """Labels of the labelled scenes of one seed."""
    return {plan.name: plan.compose().labels() for plan in plan_scenes(5) if plan.split}


@pytest.fixture(scope="module")
def harbour() -> tuple[Image, list[Label]]:
    scene = plan_scenes(5)[1].compose()
    return scene.image(), scene.labels()


def counts(truths: dict[str, list[Label]], split: str) -> Counter[str]:
    return Counter(t.category for name, found in truths.items() if split in name for t in found)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "val"])
def test_classes_are_as_unevenly_frequent_as_in_dota(
    truths: dict[str, list[Label]], split: str
) -> None:
    found = counts(truths, split)
    assert [name for name, _ in found.most_common()] == list(DOTA_ORDER)
    assert found["small-vehicle"] > 500 * found["roundabout"]


@pytest.mark.slow
def test_some_objects_are_difficult_and_most_are_not(truths: dict[str, list[Label]]) -> None:
    difficult = [label.difficult for found in truths.values() for label in found]
    assert 0.01 < np.mean(difficult) < 0.2


@pytest.mark.slow
def test_an_outline_lies_in_its_quad_and_in_its_scene(truths: dict[str, list[Label]]) -> None:
    everything = [label for found in truths.values() for label in found]
    quads = shapely.polygons([label.quad for label in everything])
    outlines = np.array([label.outline for label in everything], object)
    assert shapely.covers(shapely.buffer(quads, 1.0), outlines).all()
    assert shapely.covers(shapely.box(0, 0, SIDE, SIDE), outlines).all()
    assert set(shapely.get_type_id(outlines)) <= {3, 6}


@pytest.mark.slow
def test_objects_have_realistic_sizes(truths: dict[str, list[Label]]) -> None:
    metres: dict[str, list[float]] = {}
    for label in (label for found in truths.values() for label in found):
        sides = np.hypot(*(np.roll(label.quad, -1, axis=0) - label.quad).T) * PIXEL_SIZE
        metres.setdefault(label.category, []).append(float(sides.max()))
    assert 3.5 < min(metres["small-vehicle"]) < max(metres["small-vehicle"]) < 5.5
    assert 7 < min(metres["large-vehicle"]) < max(metres["large-vehicle"]) < 18
    assert min(metres["tennis-court"]) == pytest.approx(23.77)
    assert min(metres["basketball-court"]) == pytest.approx(28)
    assert 100 < min(metres["ground-track-field"]) < max(metres["ground-track-field"]) < 180


@pytest.mark.slow
def test_objects_contrast_with_their_surroundings(
    harbour: tuple[Image, list[Label]],
) -> None:
    """Between an object and a ring around it the mean colour changes far more than noise does."""
    image, found = harbour
    differences: dict[str, list[float]] = {}
    for label in found:
        if label.difficult or label.outline.area < 40:
            continue
        left, top, right, bottom = (int(v) for v in label.outline.buffer(6).bounds)
        left, top = max(left, 0), max(top, 0)
        part = image[top:bottom, left:right]
        inside = burned(label.outline.buffer(-0.7), part, left, top)
        ring = label.outline.buffer(5.0).difference(label.outline.buffer(1.5))
        around = burned(ring, part, left, top)
        if inside.any() and around.any():
            change = np.abs(part[inside].mean(axis=0) - part[around].mean(axis=0)).max()
            differences.setdefault(label.category, []).append(float(change))
    for category in ("ship", "storage-tank", "harbor", "large-vehicle"):
        assert np.median(differences[category]) > 25, category


def burned(geometry: shapely.Geometry, image: Image, left: int = 0, top: int = 0) -> Inside:
    """True in the geometry's pixels of an image whose first pixel is (left, top)."""
    one = Annotations(np.array([geometry], object), np.ones(1, np.uint8), np.zeros(1, np.bool_))
    height, width = image.shape[:2]
    return np.asarray(burn(one, height, width, transform=Affine.translation(-left, -top)) == 1)


@pytest.mark.slow
def test_labels_are_aligned_with_objects_to_the_pixel(harbour: tuple[Image, list[Label]]) -> None:
    """Shifted by a few pixels, the outlines of the boats fit the bright hulls less well."""
    image, found = harbour
    brightness = image.mean(axis=2)
    boats = [s.outline for s in found if s.category == "ship" and s.outline.area < 800]
    fit = {}
    for shift in ((0, 0), (3, 0), (-3, 0), (0, 3), (0, -3)):
        moved = shapely.transform(np.array(boats, object), lambda xy, s=shift: xy + np.array(s))
        inside = burned(shapely.multipolygons(shapely.get_parts(moved)), image)
        fit[shift] = float(brightness[inside].mean())
    assert max(fit, key=lambda shift: fit[shift]) == (0, 0)


def test_the_same_seed_draws_the_same_pixels_and_another_seed_others() -> None:
    scenes = [SyntheticScene("small", None, SUBURB, 400, seed, 0).compose() for seed in (7, 7, 8)]
    first, again, other = ([label.quad.tolist() for label in s.labels()] for s in scenes)
    assert first == again != other
    one, same, another = (scene.image() for scene in scenes)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, another)


def test_objects_under_crowns_are_difficult_or_unlabelled() -> None:
    car = square_car().place((20, 20))
    crown = Element((Shape(SQUARE, (0, 90, 0)),), level=7, covers=True)
    assert not next(label_elements((car,), 200)).difficult
    half = crown.place((22, 20))
    assert next(label_elements((car, half), 200)).difficult
    assert not list(label_elements((car, crown.place((20.5, 20))), 200))


def test_objects_cut_by_the_scene_are_difficult_and_clipped() -> None:
    car = square_car()
    (label,) = label_elements((car.place((0.3, 20)),), 200)
    assert label.difficult
    assert label.quad[:, 0].min() < 0 <= label.outline.bounds[0]
    assert not list(label_elements((car.place((-1.5, 20)),), 200))


@pytest.mark.parametrize("kind", sorted(LAND_USES))
def test_every_land_use_keeps_its_objects_inside_the_lot(kind: str) -> None:
    use, rng = LAND_USES[kind], np.random.default_rng(0)
    count = 6
    width, height = max(use.width * count, 120.0), max(use.height, 60.0)
    if kind in ("runway", "river", "coast"):
        width, height = 540.0, max(use.height, 180.0)
    elements = use.draw(rng, width, height, count)
    named = [element for element in elements if element.category]
    assert {element.category for element in named} <= set(DOTA_V1.names[1:])
    if kind == "coast":
        return  # ships may leave the lot
    borders = shapely.box(-1, -1, width + 1, height + 1)
    for element in named:
        assert borders.covers(element.outline()), f"{element.category} in {kind}"


def test_transparent_shapes_are_not_part_of_the_outline() -> None:
    machine = helicopter(np.random.default_rng(0))
    faint = [s for s in machine.shapes if s.opacity < SOLID]
    assert faint
    assert machine.outline().area < 0.6 * shapely.Polygon(faint[0].corners).area
