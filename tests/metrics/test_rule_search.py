"""The search for object rules."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import shapely

from geoseg.annotations.burn import Annotations
from geoseg.legend import Legend, LegendClass
from geoseg.metrics.rule_search import RuleChoice, RuleSearch
from geoseg.polygons.objects import decode_objects

LEGEND = Legend(
    (
        LegendClass(0, "background", "#000000"),
        LegendClass(1, "car", "#ff0000", countable=True),
        LegendClass(2, "field", "#00ff00"),
    )
)


def rows_of_cars(
    rng: np.random.Generator, *, noise: int
) -> tuple[np.ndarray, np.ndarray, Annotations]:
    """Draw rows of cars of 8 x 5 pixels that touch, with weak speckle around them."""
    labels, interior = np.zeros((66, 90), np.uint8), np.zeros((66, 90), np.uint8)
    boxes = []
    for row, column in itertools.product(range(5, 50, 14), range(4, 80, 6)):
        labels[row : row + 8, column : column + 6] = 1
        interior[row + 1 : row + 7, column + 1 : column + 5] = 190
        boxes.append(shapely.box(column, row, column + 6, row + 8))
    for _ in range(noise):
        row, column = rng.integers((0, 0), (58, 88))
        if not labels[row - 1 : row + 3, column - 1 : column + 3].any():
            labels[row : row + 2, column : column + 2] = 1
            interior[row : row + 2, column : column + 2] = 90
    objects = np.array(boxes, object)
    n = len(objects)
    return labels, interior, Annotations(objects, np.ones(n, np.uint8), np.zeros(n, bool))


def search(*, noise: int) -> tuple[RuleChoice, np.ndarray, np.ndarray, Annotations]:
    labels, interior, annotations = rows_of_cars(np.random.default_rng(1), noise=noise)
    searched = RuleSearch(LEGEND, {1: shapely.area(annotations.geometry)})
    searched.add(labels, interior, annotations)
    return searched.choose(), labels, interior, annotations


def test_the_chosen_rules_find_every_car_of_a_row_and_no_speckle() -> None:
    choice, labels, interior, annotations = search(noise=40)
    assert choice.annotated.tolist() == [0, len(annotations), 0]
    assert choice.f1 == 1
    objects = decode_objects(labels, interior, choice.rules, LEGEND.countable, across_classes=True)
    assert len(objects.class_id) == len(annotations) == choice.found[1]
    assert (objects.pixels == 48).all()


def test_counts_of_the_choice_are_those_of_its_rules() -> None:
    labels, interior, annotations = rows_of_cars(np.random.default_rng(2), noise=60)
    interior[::7] = 30  # cuts some cars
    searched = RuleSearch(LEGEND, {1: shapely.area(annotations.geometry)})
    searched.add(labels, interior, annotations)
    choice = searched.choose()
    objects = decode_objects(labels, interior, choice.rules, LEGEND.countable, across_classes=True)
    assert choice.found[1] == np.count_nonzero(objects.class_id == 1)


@pytest.mark.parametrize("annotated_area", [48.0, 30.0])
def test_no_class_loses_its_small_objects(annotated_area: float) -> None:
    labels, interior, annotations = rows_of_cars(np.random.default_rng(3), noise=0)
    for column in range(2, 80, 8):  # as certain as cars, but of 36 pixels
        labels[58:64, column : column + 6] = 1
        interior[58:64, column : column + 6] = 190
    searched = RuleSearch(LEGEND, {1: np.full(100, annotated_area)})
    searched.add(labels, interior, annotations)
    min_pixels = searched.choose().rules.rules[1].min_pixels
    assert min_pixels <= annotated_area
    assert (min_pixels == 40) is (annotated_area == 48)


@pytest.mark.parametrize("class_id", [0, 2])
def test_classes_without_objects_do_not_matter(class_id: int) -> None:
    choice, *_ = search(noise=0)
    assert choice.found[class_id] == choice.matched[class_id] == 0
