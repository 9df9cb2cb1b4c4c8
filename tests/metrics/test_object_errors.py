from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from shapely import Polygon, box

from geoseg.annotations.burn import Annotations
from geoseg.legend import DOTA_V1
from geoseg.metrics.object_errors import (
    PREDICTED_KINDS,
    REFERENCE_KINDS,
    classify_errors,
    count_error,
    group_classes,
)
from geoseg.metrics.objects import (
    MATCHED,
    PREDICTED,
    REFERENCE,
    ObjectCollector,
    SceneObjects,
    count_objects,
)
from tests.metrics.drawings import CLASSES, draw_scene

Objects = Sequence[tuple[Polygon, int]]

CAR, OTHER_CAR, SHIP = box(0, 0, 10, 6), box(11, 0, 21, 6), box(40, 40, 60, 48)


def collect(annotated: Objects, found: Objects) -> SceneObjects:
    def arrays(objects: Objects) -> tuple[NDArray[np.object_], NDArray[np.uint8]]:
        polygons = np.array([polygon for polygon, _ in objects], object)
        return polygons, np.array([class_id for _, class_id in objects], np.uint8)

    geometry, class_id = arrays(annotated)
    annotations = Annotations(geometry, class_id, np.zeros(len(class_id), bool))
    collector = ObjectCollector(annotations, CLASSES, width=100, height=100)
    collector.add(*arrays(found))
    return collector.finish()


@pytest.mark.parametrize(
    ("annotated", "found", "reference", "predicted"),
    [
        ([(CAR, 1)], [(CAR, 1)], ["matched"], ["matched"]),
        ([(CAR, 1)], [], ["missed"], []),
        ([], [(CAR, 1)], [], ["invented"]),
        ([], [(box(0, 0, 4, 4), 1)], [], ["speckle"]),
        ([], [(box(0, 0, 4, 4.1), 1)], [], ["invented"]),
        # one region for two cars that touch
        ([(CAR, 1), (OTHER_CAR, 1)], [(box(0, 0, 21, 6), 1)], ["merged"] * 2, ["merged"]),
        # a long ship and the boat at its side: it matches the ship
        ([(SHIP, 1), (box(40, 48, 44, 50), 1)], [(box(40, 40, 60, 50), 1)], ["matched", "merged"], ["matched"]),
        # covers only one of them
        ([(CAR, 1), (OTHER_CAR, 1)], [(box(0, 0, 13, 6), 1)], ["matched", "missed"], ["matched"]),
        ([(CAR, 1)], [(box(0, 0, 4, 6), 1), (box(4, 0, 8, 6), 1)], ["split"], ["fragment"] * 2),
        # parts of a ship that cover less than half of it
        ([(SHIP, 1)], [(box(40, 40, 43, 48), 1), (box(50, 40, 52, 48), 1)], ["loose"], ["loose", "fragment"]),
        ([(CAR, 1)], [(box(0, 0, 4, 6), 1)], ["loose"], ["loose"]),
        ([(CAR, 1)], [(box(0, 0, 30, 6), 1)], ["loose"], ["loose"]),
        ([(SHIP, 1)], [(box(40, 40, 41, 48), 1)], ["missed"], ["fragment"]),
        ([(CAR, 1)], [(CAR, 2)], ["confused"], ["confused"]),
        ([(CAR, 1)], [(box(0, 0, 90, 90), 2)], ["confused"], ["invented"]),
        ([(SHIP, 1)], [(box(40, 40, 43, 43), 2)], ["missed"], ["confused"]),
        # its class comes first
        ([(CAR, 1), (CAR, 2)], [(CAR, 1)], ["matched", "confused"], ["matched"]),
        ([(CAR, 1)], [(box(0, 0, 5, 5.9), 1), (box(5, 0, 10, 6), 2)], ["loose"], ["loose", "confused"]),
    ],
)  # fmt: skip
def test_every_object_has_the_first_kind_that_applies(
    annotated: Objects, found: Objects, reference: list[str], predicted: list[str]
) -> None:
    kinds = classify_errors(collect(annotated, found), 0.5)
    assert [REFERENCE_KINDS[kind] for kind in kinds.reference] == reference
    assert [PREDICTED_KINDS[kind] for kind in kinds.predicted] == predicted


@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.3, 0.5, 0.9]), st.booleans())
def test_kinds_sum_up_to_the_objects_of_the_f1(seed: int, match: float, ignore: bool) -> None:
    scene = draw_scene(seed).collect(difficult="ignore" if ignore else "keep")
    reference, predicted = classify_errors(scene, match).count(scene)
    counts = count_objects(scene, match).sum(axis=1)
    np.testing.assert_array_equal(reference.sum(axis=0), counts[REFERENCE])
    np.testing.assert_array_equal(predicted.sum(axis=0), counts[PREDICTED])
    for kinds in (reference, predicted):
        np.testing.assert_array_equal(kinds[0], counts[MATCHED])
    loose = [
        of[names.index("loose")]
        for of, names in ((reference, REFERENCE_KINDS), (predicted, PREDICTED_KINDS))
    ]
    if not ignore:
        np.testing.assert_array_equal(*loose)


NUMBERS = hnp.arrays(np.int64, st.integers(0, 12), elements=st.integers(0, 30))


@given(NUMBERS, st.integers(0, 99))
def test_the_error_of_counts_is_relative_to_the_annotated_objects(
    annotated: NDArray[np.int64], seed: int
) -> None:
    found = np.random.default_rng(seed).integers(0, 30, len(annotated))
    error = count_error(annotated, found)
    assert (error["truth"], error["found"]) == (annotated.sum(), found.sum())
    for least in (1, 10):
        errors = sorted(
            abs(int(b) - int(a)) / a for a, b in zip(annotated, found, strict=True) if a >= least
        )
        of = error[f"from_{least}"]
        assert of["scenes"] == len(errors)
        if errors:
            assert of["mean"] == pytest.approx(sum(errors) / len(errors), abs=1e-4)
            middle = errors[(len(errors) - 1) // 2], errors[len(errors) // 2]
            assert of["median"] == pytest.approx(sum(middle) / 2, abs=1e-4)
        else:
            assert of["mean"] is of["median"] is None


def test_vehicles_are_counted_together() -> None:
    groups = group_classes(DOTA_V1)
    assert [DOTA_V1[c].name for c in groups["vehicles"]] == ["large-vehicle", "small-vehicle"]
    assert list(groups) == ["vehicles", "ships", "planes"]
