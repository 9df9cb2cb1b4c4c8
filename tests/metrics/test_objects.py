from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from shapely import box

from geoseg.annotations.burn import Annotations
from geoseg.legend import IGNORE
from geoseg.metrics.objects import (
    MATCHED,
    PREDICTED,
    REFERENCE,
    ObjectCollector,
    SceneObjects,
    count_objects,
    panoptic_scores,
    sum_panoptic,
)
from geoseg.options import Difficult
from geoseg.polygons.trace import trace

CLASSES = 3
SIDE = 24
LABELS = hnp.arrays(np.uint8, (8, 8), elements=st.sampled_from([0, 0, 1, 2])).map(
    lambda small: small.repeat(3, axis=0).repeat(3, axis=1)
)

Polygons = list[tuple[shapely.Polygon, int]]


def traced(labels: NDArray[np.uint8]) -> Polygons:
    return [
        (polygon, int(class_id))
        for batch in trace([(labels, None)])
        for polygon, class_id in zip(batch.geometry(Affine.identity()), batch.class_id, strict=True)
    ]


def annotations(polygons: Polygons, difficult: Collection[int] = ()) -> Annotations:
    return Annotations(
        np.array([polygon for polygon, _ in polygons], object),
        np.array([class_id for _, class_id in polygons], np.uint8),
        np.array([number in difficult for number in range(len(polygons))], bool),
    )


def collected(
    truth: Polygons,
    found: Polygons,
    *,
    match: float = 0.5,
    difficult: Difficult = "keep",
    hard: Collection[int] = (),
    batch: int = 1000,
    side: int = SIDE,
) -> SceneObjects:
    objects = ObjectCollector(
        annotations(truth, hard), CLASSES, width=side, height=side, match=match, difficult=difficult
    )
    for first in range(0, len(found), batch):
        part = annotations(found[first : first + batch])
        objects.add(part.geometry, part.class_id)
    return objects.finish()


def matched(
    truth: Polygons, found: Polygons, *, match: float = 0.5, **options: Any
) -> NDArray[np.int64]:
    return count_objects(collected(truth, found, match=match, **options), match)


def best_matching(truth: Polygons, found: Polygons, match: float) -> NDArray[np.int64]:
    """Count the largest number of pairs by class, with IoUs computed one by one."""
    most = np.zeros(CLASSES, np.int64)
    for class_id in range(CLASSES):
        a = [polygon for polygon, of in truth if of == class_id]
        b = [polygon for polygon, of in found if of == class_id]
        fits = np.array(
            [[t.intersection(f).area >= match * t.union(f).area for f in b] for t in a]
        ).reshape(len(a), len(b))
        most[class_id] = fits[linear_sum_assignment(fits, maximize=True)].sum()
    return most


@settings(max_examples=100)
@given(LABELS, LABELS, st.sampled_from([0.501, 0.7, 1.0]), st.integers(1, 5))
def test_above_one_half_greedy_matching_is_optimal(
    truth: NDArray[np.uint8], labels: NDArray[np.uint8], match: float, batch: int
) -> None:
    annotated, found = traced(truth), traced(labels)
    counts = matched(annotated, found, match=match, batch=batch).sum(axis=1)
    for kind, polygons in ((REFERENCE, annotated), (PREDICTED, found)):
        ids = [class_id for _, class_id in polygons]
        assert counts[kind].tolist() == np.bincount(ids, minlength=CLASSES).tolist()
    np.testing.assert_array_equal(counts[MATCHED], best_matching(annotated, found, match))


@given(LABELS)
def test_annotations_match_themselves(labels: NDArray[np.uint8]) -> None:
    polygons = traced(labels)
    counts = matched(polygons, polygons, match=1.0)
    np.testing.assert_array_equal(counts[MATCHED], counts[REFERENCE])
    np.testing.assert_array_equal(counts[PREDICTED], counts[REFERENCE])


@given(LABELS, LABELS)
def test_annotations_that_overlap_are_each_matched_once(
    one: NDArray[np.uint8], other: NDArray[np.uint8]
) -> None:
    annotated, found = traced(one) + traced(one), traced(other)
    counts = matched(annotated, found).sum(axis=1)
    assert (counts[MATCHED] <= counts[PREDICTED]).all()
    np.testing.assert_array_equal(counts[MATCHED], matched(traced(one), found).sum(axis=1)[MATCHED])


def test_the_pair_of_highest_iou_is_matched_first() -> None:
    annotated = [(box(0, 0, 10, 10), 1), (box(0, 0, 10, 12), 1)]
    found = [(box(0, 0, 10, 11.5), 1)]
    counts = matched(annotated, found, hard={1}, difficult="ignore")
    assert counts.sum(axis=1)[:, 1].tolist() == [1, 0, 0]  # it went to the difficult one
    counts = matched(annotated, [(box(0, 0, 10, 10.5), 1)], hard={1}, difficult="ignore")
    assert counts.sum(axis=1)[:, 1].tolist() == [1, 1, 1]


def test_classes_do_not_match_each_other() -> None:
    counts = matched([(box(0, 0, 9, 9), 1)], [(box(0, 0, 9, 9), 2)])
    assert counts[MATCHED].sum() == 0


def test_sizes_are_those_of_coco_and_a_match_counts_at_its_annotation() -> None:
    side = 400
    annotated = [
        (box(0, 0, 32, 32), 1),  # small still
        (box(50, 0, 83, 32), 1),  # medium
        (box(100, 0, 197, 96), 1),  # large
    ]
    found = [
        (box(0, 0, 32, 34), 1),  # medium, of a small one
        (box(100, 0, 196, 96), 1),  # medium, of a large one
        (box(300, 300, 310, 310), 1),
    ]
    counts = matched(annotated, found, side=side)[:, :, 1]
    assert counts[REFERENCE].tolist() == [1, 1, 1]
    assert counts[MATCHED].tolist() == [1, 0, 1]
    assert counts[PREDICTED].tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("difficult", "expected"), [("keep", [2, 3, 1]), ("drop", [1, 3, 0]), ("ignore", [1, 2, 0])]
)
def test_difficult_objects_are_kept_dropped_or_ignored(
    difficult: Difficult, expected: list[int]
) -> None:
    annotated = [(box(0, 0, 5, 5), 1), (box(10, 0, 15, 5), 1)]
    found = [(box(0, 0, 5, 5), 1), (box(20, 0, 23, 5), 1), (box(20, 9, 23, 15), 1)]
    counts = matched(annotated, found, difficult=difficult, hard={0})
    assert counts.sum(axis=1)[:, 1].tolist() == expected


def test_annotations_are_clipped_to_the_scene_and_repaired() -> None:
    outside = box(30, 30, 40, 40)
    beyond = box(-10, 0, 6, 6)
    bow_tie = shapely.Polygon([(10, 10), (20, 20), (20, 10), (10, 20)])
    found = [(box(0, 0, 6, 6), 1), (box(10, 10, 20, 20), 2)]
    counts = matched([(outside, 1), (beyond, 1), (bow_tie, 2)], found).sum(axis=1)
    assert counts[REFERENCE].tolist() == [0, 1, 1]
    assert counts[MATCHED].tolist() == [0, 1, 1]


def test_scenes_without_objects_have_zero_counts() -> None:
    assert not matched([], []).any()
    assert matched([], [(box(0, 0, 2, 2), 1)]).sum() == 1
    assert matched([(box(0, 0, 2, 2), 1)], []).sum() == 1


def test_ignored_areas_are_no_objects_and_predictions_on_them_are_not_counted() -> None:
    known, unknown = (box(2, 2, 8, 8), 1), (box(12, 0, 24, 24), IGNORE)
    found = [known, (box(14, 2, 18, 6), 2), (box(10, 10, 14, 14), 2), (box(9, 16, 13, 20), 1)]
    counts = matched([known, unknown], found)
    assert counts.sum(axis=1).tolist() == [[0, 1, 0], [0, 2, 0], [0, 1, 0]]
    assert matched([unknown], [], side=SIDE).sum() == 0


@settings(max_examples=50)
@given(LABELS, LABELS)
def test_panoptic_quality_is_that_of_its_definition(
    truth: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> None:
    annotated, found = traced(truth), traced(labels)
    sums = sum_panoptic(collected(annotated, found))
    scores = panoptic_scores(sums)
    for class_id in range(CLASSES):
        a = [polygon for polygon, of in annotated if of == class_id]
        b = [polygon for polygon, of in found if of == class_id]
        ious = [t.intersection(f).area / t.union(f).area for t in a for f in b]
        true = [iou for iou in ious if iou > 0.5]
        false_positives, false_negatives = len(b) - len(true), len(a) - len(true)
        if not a and not b:
            assert np.isnan(scores[:, class_id]).all()
            continue
        whole = len(true) + false_positives / 2 + false_negatives / 2
        expected = [sum(true) / whole, sum(true) / max(len(true), 1), len(true) / whole]
        np.testing.assert_allclose(scores[:, class_id], expected, atol=1e-12)


def test_an_iou_of_one_half_matches_for_the_f1_and_not_for_panoptic_quality() -> None:
    scene = collected([(box(0, 0, 10, 10), 1)], [(box(0, 0, 10, 5), 1)])
    assert count_objects(scene, 0.5)[MATCHED].sum() == 1
    assert sum_panoptic(scene)[MATCHED].sum() == 0


@given(LABELS, LABELS)
def test_large_polygons_are_divided_without_effect(
    truth: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> None:
    annotated, found = traced(truth), traced(labels)
    whole = collected(annotated, found).pairs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.metrics.objects._MAX_POINTS", 6)
        divided = collected(annotated, found).pairs
    np.testing.assert_array_equal(whole.common, divided.common)
    np.testing.assert_array_equal(whole.reference, divided.reference)
