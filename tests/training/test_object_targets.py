"""Targets of object outputs: against shapely, at any angle and scale, with pasted objects."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from geoseg.annotations.burn import Annotations, burn, burn_ids
from geoseg.dataset.folder import Dataset
from geoseg.legend import DOTA_V1
from geoseg.training.object_targets import compute_object_targets, find_touching
from geoseg.training.windows import SplitReader, View, is_held_out
from tests.synthetic_dataset import dataset

IDS = arrays.arrays(np.int32, st.tuples(st.just(9), st.just(9)), elements=st.integers(0, 3))
CAR, SHIP, HARBOR = (DOTA_V1.id_of(name) for name in ("small-vehicle", "ship", "harbor"))


def row_of_cars(count: int = 3) -> Annotations:
    """Cars of 6 by 11 pixels, side by side."""
    boxes = [shapely.box(40 + 6 * n, 40, 46 + 6 * n, 51) for n in range(count)]
    return Annotations(
        np.array(boxes, object), np.full(count, CAR, np.uint8), np.zeros(count, bool)
    )


def brute_force_touching(ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    found = np.zeros(ids.shape, bool)
    for row, column in np.ndindex(*ids.shape):
        square = ids[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        found[row, column] = len(set(square[square > 0].tolist())) > 1
    return found


@given(IDS)
def test_objects_touch_where_two_lie_in_a_square(ids: NDArray[np.int32]) -> None:
    assert (find_touching(ids) == brute_force_touching(ids)).all()


@given(IDS, st.integers(0, 3), st.booleans())
def test_targets_turn_with_the_objects(ids: NDArray[np.int32], turns: int, flip: bool) -> None:
    def turn(image: NDArray[np.generic]) -> NDArray[np.generic]:
        turned = np.rot90(image, turns, (-2, -1))
        return turned[..., ::-1] if flip else turned

    expected = compute_object_targets(ids, pad=0)
    found = compute_object_targets(np.ascontiguousarray(turn(ids)), pad=0)
    assert (found.values == turn(expected.values)).all()
    assert (found.weight == turn(expected.weight)).all()


def test_the_interior_is_the_object_without_its_outermost_pixels() -> None:
    ids = burn_ids(row_of_cars(), 96, 96)
    interior = compute_object_targets(ids, pad=0).values[0]
    boxes = [shapely.box(41 + 6 * n, 41, 45 + 6 * n, 50) for n in range(3)]
    shrunk = Annotations(np.array(boxes, object), np.full(3, 1, np.uint8), np.zeros(3, bool))
    assert (interior == (burn(shrunk, 96, 96) > 0)).all()


def test_an_object_too_thin_for_an_interior_is_all_interior() -> None:
    ids = np.zeros((9, 9), np.int32)
    ids[4, 2:7] = 1
    targets = compute_object_targets(ids, pad=0)
    assert (targets.values[0] == (ids > 0)).all()
    assert targets.weight[4, 4] == 2
    assert not targets.weight[ids == 0].any()


def test_the_edge_of_a_window_is_no_border_of_an_object() -> None:
    ids = np.zeros((20, 20), np.int32)
    ids[4:16, 0:20] = 1
    padded = compute_object_targets(ids, pad=5)
    assert padded.values[0].all()


@given(st.integers(-20, 20), st.integers(-20, 20), st.floats(0.5, 2), st.floats(0, 360))
def test_burned_ids_are_the_union_of_the_burned_objects(
    x: int, y: int, scale: float, angle: float
) -> None:
    transform = (
        Affine.translation(x + 0.123, y) @ Affine.rotation(angle, (48, 48)) @ Affine.scale(scale)
    )
    cars = row_of_cars()
    ids = burn_ids(cars, 96, 96, transform=transform)
    assert ((ids > 0) == (burn(cars, 96, 96, transform=transform) == CAR)).all()
    for number in range(3):
        alone = burn(cars[[number]], 96, 96, transform=transform) == CAR
        assert not ((ids == number + 1) & ~alone).any()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> SplitReader:
    folder = dataset(tmp_path_factory.mktemp("drawn"), scenes=2, size=200)
    return SplitReader(Dataset.open(folder), "train", layer=None, difficult="keep")


def test_the_targets_of_a_window_lie_on_the_countable_labels(reader: SplitReader) -> None:
    countable = np.append(reader.legend.countable, [False] * (256 - len(reader.legend)))
    occurring = 0
    for angle in (0, 30):
        view = View(0, Affine.rotation(angle, (48, 48)) @ Affine.translation(-50, -40))
        labels = reader.read(view, 96).labels
        targets = reader.read_objects(view, 96)
        on = countable[labels] & (labels != 255)
        inside = labels != 255
        assert ((targets.weight > 0) == on)[inside].all()
        assert not (targets.values[0] & ~on)[inside].any()
        occurring += int(on.sum())
    assert occurring


def test_a_pasted_object_is_an_object_unless_its_class_is_not_countable(
    reader: SplitReader,
) -> None:
    view = View(0, Affine.translation(300, 300))  # outside of the scene: no other objects
    labels = np.zeros((64, 64), np.uint8)
    pasted = np.zeros((64, 64), np.int32)
    ship = reader.legend.id_of("ship")
    other = next(c.id for c in reader.legend.objects if not c.countable)
    for number, (left, class_id) in enumerate([(4, ship), (14, ship), (40, other)], start=1):
        place = np.s_[10:20, left : left + 10]
        labels[place], pasted[place] = class_id, number
    targets = reader.read_objects(view, 64, labels=labels, pasted=pasted)
    assert ((targets.weight > 0) == (labels == ship)).all()
    assert targets.values[0].sum() == 2 * 8 * 8
    assert targets.values[1].any()


def test_held_out_scenes_are_the_same_fraction_of_any_dataset() -> None:
    names = [f"S{number:04}" for number in range(2000)]
    held_out = {name for name in names if is_held_out(name, 0.05)}
    assert 60 < len(held_out) < 140
    assert held_out == {name for name in reversed(names) if is_held_out(name, 0.05)}
    assert not any(is_held_out(name, 0.0) for name in names)
