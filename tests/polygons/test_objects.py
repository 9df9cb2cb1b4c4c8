"""Decoded objects: against a decoder of few lines, and independent of the strips."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.polygons.object_rules import ObjectRule, ObjectRules
from geoseg.polygons.objects import (
    CONFIDENCE_LEVELS,
    INTERIOR_LEVELS,
    Decoding,
    ObjectDecoder,
    Objects,
    decode_objects,
)
from geoseg.polygons.trace import trace

Bytes = NDArray[np.uint8]

COUNTABLE = (False, True, True, False)
FLOOR = 30
NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0))


@st.composite
def scenes(draw: st.DrawFn, side: int = 14) -> tuple[Bytes, Bytes]:
    shape = draw(st.tuples(st.integers(1, side), st.integers(1, side)))
    values = st.sampled_from([0, 1, 1, 1, 1, 2, 2, 3, 255])
    labels = draw(arrays.arrays(np.uint8, shape, elements=values, fill=st.just(1)))
    energies = st.sampled_from([0, 20, 29, 30, 60, 100, 140, 170, 190, 200, 255])
    energy = draw(arrays.arrays(np.uint8, shape, elements=energies, fill=st.just(60)))
    return labels, energy


@st.composite
def rule_sets(draw: st.DrawFn) -> ObjectRules:
    rules = [
        ObjectRule(
            floor=draw(st.sampled_from([FLOOR, 100])),
            seed=draw(st.sampled_from([0, 60, 150])),
            part=draw(st.integers(1, 6)),
            min_pixels=draw(st.sampled_from([0, 1, 4])),
        )
        for _ in COUNTABLE
    ]
    return ObjectRules(tuple(rules), reach=draw(st.integers(0, 4)))


def decode_in_strips(
    labels: Bytes, energy: Bytes, decoding: Decoding, heights: Sequence[int]
) -> Objects:
    def strips() -> Iterator[tuple[Bytes, Bytes]]:
        row = turn = 0
        while row < len(labels):
            part = slice(row, row + heights[turn % len(heights)])
            yield labels[part], energy[part]
            row, turn = part.stop, turn + 1

    decoder = ObjectDecoder(decoding)
    provisional = np.concatenate(list(decoder.decode(strips())))
    table = decoder.finish()
    return Objects(table.finish(provisional).astype(np.int32), table.class_id[1:], table.pixels[1:])


def assert_equal(one: Objects, other: Objects) -> None:
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.class_id, other.class_id)
    np.testing.assert_array_equal(one.pixels, other.pixels)


# A decoder of few lines, over whole arrays


def components(on: NDArray[np.bool_], key: Bytes) -> Iterator[NDArray[np.bool_]]:
    for value in np.unique(key[on]):
        ids, count = ndimage.label(on & (key == value))
        yield from (ids == i for i in range(1, count + 1))


def shifted(values: NDArray[np.int64], down: int, right: int) -> NDArray[np.int64]:
    """Return the value of the neighbour of each pixel, 0 beyond the border."""
    framed = np.pad(values, 1)
    height, width = values.shape
    return framed[1 + down : 1 + down + height, 1 + right : 1 + right + width]


def join_straight(ids: NDArray[np.int64], inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return `ids` after a step to four neighbours."""
    new = ids.copy()
    for down, right in reversed(NEIGHBOURS):
        beside = shifted(ids, down, right)
        new = np.where(inside & (ids == 0) & (beside > 0), beside, new)
    return new


def join_diagonal(
    before: NDArray[np.int64], ids: NDArray[np.int64], inside: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return `ids` after the diagonal part of a step, which began with `before`."""
    new = ids.copy()
    joined = np.where(before == 0, ids, 0)
    for down, right in reversed(NEIGHBOURS):
        between = shifted(joined, down, right)
        for turn in (-1, 1):
            corner = shifted(before, down + turn * abs(right), right + turn * abs(down))
            joins = inside & (ids == 0) & (between > 0) & (corner == between)
            new = np.where(joins, between, new)
    return new


def separate(
    core: NDArray[np.bool_], labels: Bytes, energy: Bytes, rules: ObjectRules, *, across: bool
) -> list[NDArray[np.bool_]]:
    share = np.array([1 / rule.part for rule in rules.rules])
    levels = INTERIOR_LEVELS if across else CONFIDENCE_LEVELS
    parts: list[NDArray[np.bool_]] = []
    for level in [*levels, 1]:
        new = []
        for whole in components(core & (energy >= level), np.zeros_like(labels)):
            own = [part for part in parts if (part & whole).any()]
            large = [part for part in own if share[labels[part]].sum() > 1 - 1e-9]
            if len(large) < 2:
                new.append(whole)
                continue
            ids = sum(
                (i * part for i, part in enumerate(large, start=1)), np.zeros(core.shape, np.int64)
            )
            while (ids[whole] == 0).any():
                ids = join_straight(ids, whole)
            new += [ids == i for i in range(1, len(large) + 1)]
        parts = new
    return parts


def decode_plainly(
    labels: Bytes, energy: Bytes, rules: ObjectRules, *, across: bool, largest: int
) -> set[tuple[bytes, int]]:
    """Return the pixels and the class of each object."""
    classes = np.where(labels == 255, 0, labels)
    on = np.array(COUNTABLE)[classes]
    energy = np.where(energy > 200, 0, energy).astype(np.uint8)
    floors = np.array([rule.floor for rule in rules.rules])
    key = np.where(on, 1 if across else classes, 0).astype(np.uint8)
    ids = np.zeros(labels.shape, np.int64)
    open_to_growth = on.copy()
    count = 0
    for core in components(on & (energy >= floors[classes]), key):
        rows, columns = core.nonzero()
        if max(np.ptp(rows), np.ptp(columns)) >= largest:
            open_to_growth &= ~core
            continue
        for part in separate(core, labels, energy, rules, across=across):
            count += 1
            ids[part] = count
    for step in range(1, rules.reach + 1):
        now = ids.copy()
        for value in np.unique(key[key > 0]):
            inside = open_to_growth & (key == value)
            before = np.where(key == value, ids, 0)
            after = join_straight(before, inside)
            if step % 2:
                after = join_diagonal(before, after, inside)
            now = np.where(key == value, after, now)
        ids = now
    found = [ids == i for i in range(1, count + 1)]
    found += components((ids == 0) & (classes > 0), labels)
    kept = set()
    for pixels in found:
        class_id = int(np.bincount(labels[pixels]).argmax())
        rule = rules.rules[class_id]
        weak = COUNTABLE[class_id] and energy[pixels].max() < rule.seed
        if pixels.sum() >= rule.min_pixels and not weak:
            kept.add((pixels.tobytes(), class_id))
    return kept


LARGEST = st.sampled_from([3, 6, 1024])


@settings(max_examples=200)
@given(scenes(), rule_sets(), st.booleans(), LARGEST)
def test_objects_are_those_of_a_decoder_of_few_lines(
    scene: tuple[Bytes, Bytes], rules: ObjectRules, across: bool, largest: int
) -> None:
    found = decode_objects(*scene, rules, COUNTABLE, across_classes=across, largest=largest)
    objects = {
        ((found.ids == i + 1).tobytes(), int(class_id)) for i, class_id in enumerate(found.class_id)
    }
    assert objects == decode_plainly(*scene, rules, across=across, largest=largest)


@settings(max_examples=400)
@given(
    scenes(24), rule_sets(), st.booleans(), LARGEST,
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
)  # fmt: skip
def test_objects_do_not_depend_on_the_strips(
    scene: tuple[Bytes, Bytes],
    rules: ObjectRules,
    across: bool,
    largest: int,
    heights: list[int],
) -> None:
    whole = decode_objects(*scene, rules, COUNTABLE, across_classes=across, largest=largest)
    decoding = Decoding(rules, COUNTABLE, across, largest=largest)
    assert_equal(decode_in_strips(*scene, decoding, heights), whole)


@given(scenes(), rule_sets(), st.booleans())
def test_an_object_is_connected_and_numbered_by_its_first_pixel(
    scene: tuple[Bytes, Bytes], rules: ObjectRules, across: bool
) -> None:
    found = decode_objects(*scene, rules, COUNTABLE, across_classes=across)
    ids, first = np.unique(found.ids[found.ids > 0], return_index=True)
    assert ids.tolist() == list(range(1, len(found.class_id) + 1))
    assert (np.diff(first) > 0).all()
    for i in ids:
        assert ndimage.label(found.ids == i)[1] == 1
        assert found.pixels[i - 1] == (found.ids == i).sum()


@given(scenes(), rule_sets(), st.booleans(), st.booleans())
def test_an_object_is_one_polygon_with_its_pixels(
    scene: tuple[Bytes, Bytes], rules: ObjectRules, across: bool, noded: bool
) -> None:
    found = decode_objects(*scene, rules, COUNTABLE, across_classes=across)
    class_of = np.append(np.uint8(0), found.class_id)
    polygons = [
        (int(i), int(c), int(pixels))
        for batch in trace([(found.ids.astype(np.uint32), None)], noded=noded, class_id=class_of)
        for i, c, pixels in zip(batch.id, batch.class_id, batch.pixels, strict=True)  # type: ignore[arg-type]
    ]
    count = len(found.class_id)
    assert sorted(polygons) == list(
        zip(range(1, count + 1), found.class_id.tolist(), found.pixels.tolist(), strict=True)
    )


def row_of_cars(cars: int) -> tuple[Bytes, Bytes]:
    """Return labels without gaps, and energy with a valley of one column between 6 x 10 cars."""
    labels = np.zeros((12, 7 * cars + 2), np.uint8)
    labels[1:11, 1:-1] = 1
    energy = np.where(labels > 0, 30, 0).astype(np.uint8)
    for car in range(cars):
        energy[2:10, 2 + 7 * car : 8 + 7 * car] = 190
    return labels, energy


def test_a_row_of_cars_becomes_one_object_each() -> None:
    labels, energy = row_of_cars(20)
    rules = ObjectRules((ObjectRule(floor=20, part=8, min_pixels=12),) * 2, reach=2)
    found = decode_objects(labels, energy, rules, (False, True), across_classes=True)
    assert len(found.class_id) == 20
    assert (found.ids > 0).sum() == (labels > 0).sum()


def test_cores_that_are_too_large_are_not_separated_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    labels, energy = row_of_cars(20)
    rules = ObjectRules((ObjectRule(floor=20, part=8, min_pixels=12),) * 2, reach=2)
    with caplog.at_level(logging.WARNING):
        found = decode_objects(
            labels, energy, rules, (False, True), across_classes=True, largest=100
        )
    assert len(found.class_id) == 1
    assert "more than 100 rows or columns are not separated: 1 polygons" in caplog.text


def test_small_and_weak_objects_are_dropped_by_the_rule_of_their_class() -> None:
    labels = np.zeros((5, 20), np.uint8)
    energy = np.zeros((5, 20), np.uint8)
    for column, (class_id, peak) in enumerate([(1, 99), (1, 100), (2, 99), (3, 0)]):
        labels[1:4, 5 * column + 1 : 5 * column + 4] = class_id
        energy[2, 5 * column + 2] = peak
    rules = ObjectRules(
        (
            ObjectRule(),
            ObjectRule(floor=20, seed=100, min_pixels=9),
            ObjectRule(floor=20, seed=90, min_pixels=9),
            ObjectRule(floor=20, seed=90, min_pixels=9),
        ),
        reach=3,
    )
    found = decode_objects(labels, energy, rules, COUNTABLE, across_classes=True)
    assert found.class_id.tolist() == [1, 2, 3]
    assert found.pixels.tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    ("labels", "energy", "message"),
    [
        (np.zeros((3, 4), np.int32), np.zeros((3, 4), np.uint8), "labels must be"),
        (np.zeros((3, 4), np.uint8), np.zeros((4, 3), np.uint8), "energy must be"),
        (np.full((3, 4), 9, np.uint8), np.zeros((3, 4), np.uint8), "labels must be below 4"),
    ],
)
def test_arrays_that_are_not_labels_and_energy_are_rejected(
    labels: NDArray[np.uint8], energy: Bytes, message: str
) -> None:
    rules = ObjectRules((ObjectRule(),) * 4)
    with pytest.raises(ValueError, match=message):
        decode_objects(labels, energy, rules, COUNTABLE, across_classes=True)
