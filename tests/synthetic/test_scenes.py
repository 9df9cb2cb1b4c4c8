"""What the demo draws is what its labels say."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations, burn
from geoseg.legend import DOTA_V1
from geoseg.synthetic.lots import KINDS
from geoseg.synthetic.render import Image
from geoseg.synthetic.scenes import PIXEL_SIZE, SIDE, SUBURB, Label, Plan, labels, plans
from geoseg.synthetic.shapes import SOLID, Shape, Thing, labelled
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


def square_car() -> Thing:
    return labelled("small-vehicle", [Shape(SQUARE, (200, 0, 0))], 4, 4, level=1)


@pytest.fixture(scope="module")
def truths() -> dict[str, list[Label]]:
    """Labels of the labelled scenes of one seed."""
    return {plan.name: plan.compose().labels() for plan in plans(5) if plan.split}


@pytest.fixture(scope="module")
def harbour() -> tuple[Image, list[Label]]:
    scene = plans(5)[1].compose()
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
def test_sizes_are_those_of_the_real_things(truths: dict[str, list[Label]]) -> None:
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
def test_objects_look_different_from_what_is_around_them(
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
def test_a_label_lies_on_its_object_to_the_pixel(harbour: tuple[Image, list[Label]]) -> None:
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
    scenes = [Plan("small", None, SUBURB, 400, seed, 0).compose() for seed in (7, 7, 8)]
    first, again, other = ([label.quad.tolist() for label in s.labels()] for s in scenes)
    assert first == again != other
    one, same, another = (scene.image() for scene in scenes)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, another)


def test_what_a_crown_hides_is_difficult_or_not_labelled() -> None:
    car = square_car().placed((20, 20))
    crown = Thing((Shape(SQUARE, (0, 90, 0)),), level=7, covers=True)
    assert not next(labels((car,), 200)).difficult
    half = crown.placed((22, 20))
    assert next(labels((car, half), 200)).difficult
    assert not list(labels((car, crown.placed((20.5, 20))), 200))


def test_what_the_scene_cuts_is_difficult_and_its_outline_is_cut() -> None:
    car = square_car()
    (label,) = labels((car.placed((0.3, 20)),), 200)
    assert label.difficult
    assert label.quad[:, 0].min() < 0 <= label.outline.bounds[0]
    assert not list(labels((car.placed((-1.5, 20)),), 200))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_lot_keeps_its_objects_within_its_borders(kind: str) -> None:
    use, rng = KINDS[kind], np.random.default_rng(0)
    count = 6
    width, height = max(use.width * count, 120.0), max(use.height, 60.0)
    if kind in ("runway", "river", "coast"):
        width, height = 540.0, max(use.height, 180.0)
    things = use.draw(rng, width, height, count)
    named = [thing for thing in things if thing.category]
    assert {thing.category for thing in named} <= set(DOTA_V1.names[1:])
    if kind == "coast":
        return  # ships may sail out of the picture
    borders = shapely.box(-1, -1, width + 1, height + 1)
    for thing in named:
        assert borders.covers(thing.outline()), f"{thing.category} in {kind}"


def test_faint_shapes_do_not_belong_to_the_outline() -> None:
    machine = helicopter(np.random.default_rng(0))
    faint = [s for s in machine.shapes if s.opacity < SOLID]
    assert faint
    assert machine.outline().area < 0.6 * shapely.Polygon(faint[0].corners).area
