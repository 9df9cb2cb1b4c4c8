from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from shapely import affinity, box

from geoseg.annotations.burn import Annotations, burn
from geoseg.metrics.boundary import BoundaryCounter
from geoseg.metrics.confusion import confusion_matrix
from geoseg.metrics.evaluation import SceneCounter, SceneCounts
from geoseg.metrics.objects import MATCHED, PREDICTED, REFERENCE
from geoseg.options import PolygonOptions, ScoringOptions
from geoseg.polygons.table import AttributeTable, extract_polygons
from tests.scenes import LEGEND

CLASSES = len(LEGEND)
TABLE = AttributeTable(LEGEND, None, Affine.identity(), "scene")
HEIGHT, WIDTH = 60, 50
BLOTCHES = hnp.arrays(np.uint8, (10, 10), elements=st.sampled_from([0, 0, 1, 2, 3, 255]))


def annotated(seed: int, count: int = 12) -> Annotations:
    """Rectangles at any angle, some of them beyond the border."""
    rng = np.random.default_rng(seed)
    polygons = [
        affinity.rotate(box(x, y, x + w, y + h), angle)
        for x, y, w, h, angle in rng.uniform((-5, -5, 2, 2, 0), (48, 58, 20, 20, 90), (count, 5))
    ]
    return Annotations(
        np.array(polygons, object),
        rng.integers(1, CLASSES, count).astype(np.uint8),
        rng.random(count) < 0.3,
    )


def tallied(
    labels: NDArray[np.uint8],
    truths: list[Annotations],
    heights: list[int] | None = None,
    scoring: ScoringOptions = ScoringOptions(),
) -> list[SceneCounts]:
    rows = np.cumsum([0, *(heights or [])])
    parts = np.split(labels, rows[(rows > 0) & (rows < len(labels))])
    strips = [(part, part // 2) for part in parts]
    references = {f"layer {number}": truth for number, truth in enumerate(truths)}
    counter = SceneCounter(references, TABLE, width=WIDTH, height=HEIGHT, scoring=scoring)
    for batch in extract_polygons(
        counter.count_strips(strips), scoring.cleaning, countable=LEGEND.countable
    ):
        counter.add(batch)
    return list(counter.finish().values())


def assert_equal(one: SceneCounts, other: SceneCounts) -> None:
    """Compare all arrays."""
    arrays = [
        (of.confidences, of.boundary, *astuple(of.objects)[:-2], *astuple(of.objects.detections))
        for of in (one, other)
    ]
    for a, b in zip(*arrays, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=30)
@given(
    BLOTCHES,
    st.integers(0, 99),
    st.lists(st.integers(1, 20), max_size=20),
    st.sampled_from(["keep", "ignore", "drop"]),
)
def test_counts_do_not_depend_on_the_strips(
    blotches: NDArray[np.uint8], seed: int, heights: list[int], difficult: str
) -> None:
    labels = blotches.repeat(6, axis=0).repeat(5, axis=1)
    truths = [annotated(seed), annotated(seed + 1)]
    scoring = ScoringOptions(difficult=difficult, boundary=3)  # type: ignore[arg-type]
    whole, cut = tallied(labels, truths, scoring=scoring), tallied(labels, truths, heights, scoring)
    for one, other, objects in zip(whole, cut, truths, strict=True):
        assert_equal(one, other)
        truth = burn(objects, HEIGHT, WIDTH, difficult=scoring.difficult)
        np.testing.assert_array_equal(one.matrix, confusion_matrix(truth, labels, CLASSES))
        boundaries = BoundaryCounter(CLASSES, 3)
        boundaries.add(truth, labels)
        np.testing.assert_array_equal(one.boundary, boundaries.finish())


def test_rows_of_a_wide_scene_are_counted_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = burn(annotated(1), HEIGHT, WIDTH)
    (whole,) = tallied(labels, [annotated(2)])
    monkeypatch.setattr("geoseg.metrics.evaluation._BLOCK_PIXELS", 3 * WIDTH)
    (few,) = tallied(labels, [annotated(2)])
    assert_equal(whole, few)


def test_labels_burned_from_the_annotations_are_all_correct() -> None:
    objects = [box(2, 2, 12, 9), box(20, 20, 30, 50), box(40, 0, 50, 8)]
    annotations = Annotations(
        np.array(objects, object), np.array([1, 2, 1], np.uint8), np.zeros(3, bool)
    )
    (found,) = tallied(burn(annotations, HEIGHT, WIDTH), [annotations], [7] * 9)
    assert np.trace(found.matrix) == found.matrix.sum() == HEIGHT * WIDTH
    assert (found.boundary[0] == found.boundary[1]).all()
    assert found.objects.counts[0].sum(axis=1)[:, 1:3].tolist() == [[2, 1]] * 3


def test_cleaning_changes_objects_and_leaves_pixels_alone() -> None:
    annotations = Annotations(
        np.array([box(5, 5, 25, 25)], object), np.array([1], np.uint8), np.zeros(1, bool)
    )
    labels = burn(annotations, HEIGHT, WIDTH)
    labels[40:42, 40:42] = 1  # a speck
    labels[8:22, 8:22] = 0  # a hole, so large that what is left is half of the object at most
    plain = tallied(labels, [annotations])[0]
    cleaning = PolygonOptions(min_pixels=5, fill_holes=200)
    clean = tallied(labels, [annotations], scoring=ScoringOptions(cleaning=cleaning))[0]
    np.testing.assert_array_equal(plain.matrix, clean.matrix)
    np.testing.assert_array_equal(plain.boundary, clean.boundary)
    counts = [
        of.objects.counts[0].sum(axis=1)[[REFERENCE, PREDICTED, MATCHED], 1].tolist()
        for of in (plain, clean)
    ]
    assert counts == [[1, 2, 1], [1, 1, 1]]


def test_merged_objects_are_separated_by_split() -> None:
    discs = [affinity.scale(box(0, 0, 1, 1).centroid.buffer(8), 1, 1) for _ in range(2)]
    objects = [affinity.translate(disc, 12 + 15 * n, 20) for n, disc in enumerate(discs)]
    annotations = Annotations(
        np.array(objects, object), np.array([1, 1], np.uint8), np.zeros(2, bool)
    )
    labels = burn(annotations, HEIGHT, WIDTH)
    together = tallied(labels, [annotations])[0].objects.counts[0].sum(axis=1)[:, 1]
    apart = tallied(
        labels, [annotations], scoring=ScoringOptions(cleaning=PolygonOptions(split="necks"))
    )[0]
    assert together.tolist() == [2, 1, 0]
    assert apart.objects.counts[0].sum(axis=1)[:, 1].tolist() == [2, 2, 2]


@pytest.mark.parametrize("wrong", [{"boundary": 0}, {"match": 0.0}, {"match": 1.1}])
def test_invalid_scoring_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ScoringOptions(**wrong)  # type: ignore[arg-type]
