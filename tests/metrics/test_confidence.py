import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve

from geoseg.legend import IGNORE, Legend
from geoseg.metrics.calibration import (
    BINS,
    confidence_histogram,
    reliability_curve,
    sweep_thresholds,
)
from geoseg.metrics.confusion import Scores, confusion_matrix

CLASSES = 4
LEGEND = Legend.of({"plane": "#ff0000", "ship": "#00ff00", "harbor": "#0000ff"})
LABELS = hnp.arrays(np.uint8, (8, 9), elements=st.sampled_from([0, 1, 2, 3, IGNORE]))
SURE = hnp.arrays(np.uint8, (8, 9), elements=st.integers(0, 200))

Array = NDArray[np.uint8]


@given(LABELS, LABELS, hnp.arrays(np.uint8, (8, 9)))
def test_the_sum_over_confidences_is_the_confusion_matrix(t: Array, f: Array, sure: Array) -> None:
    counts = confidence_histogram(t, f, sure, CLASSES)
    np.testing.assert_array_equal(counts.sum(axis=2), confusion_matrix(t, f, CLASSES))
    seen = (t != IGNORE) & (f != IGNORE)
    assert counts[..., -1].sum() == (seen & (sure > 200)).sum()  # nobody knows how sure
    unknown = confidence_histogram(t, f, None, CLASSES)
    np.testing.assert_array_equal(unknown[..., -1], confusion_matrix(t, f, CLASSES))


@given(LABELS, LABELS, SURE)
def test_the_reliability_curve_equals_that_of_scikit_learn(t: Array, f: Array, sure: Array) -> None:
    found = reliability_curve(confidence_histogram(t, f, sure, CLASSES))
    seen = (t != IGNORE) & (f != IGNORE)
    right, probability = (t == f)[seen], (sure / 200)[seen]
    if not seen.any():
        assert np.isnan(found.ece)
        return
    accuracy, confidence = calibration_curve(right, probability, n_bins=BINS)
    full = found.pixels > 0
    np.testing.assert_allclose(found.accuracy[full], accuracy)
    np.testing.assert_allclose(found.confidence[full], confidence)
    of = np.maximum(np.ceil(sure[seen] / (200 // BINS)).astype(int) - 1, 0)
    gaps = [
        (of == b).sum() * abs(right[of == b].mean() - probability[of == b].mean())
        for b in np.unique(of)
    ]
    assert found.ece == pytest.approx(sum(gaps) / seen.sum())


@given(LABELS, LABELS, SURE)
def test_predicted_objects_have_a_reliability_curve_of_their_own(
    t: Array, f: Array, sure: Array
) -> None:
    without = np.where(f == 0, np.uint8(IGNORE), f)
    expected = reliability_curve(confidence_histogram(t, without, sure, CLASSES))
    found = reliability_curve(confidence_histogram(t, f, sure, CLASSES), background=False)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_array_equal(found.accuracy, expected.accuracy)


@given(LABELS, LABELS, SURE, st.integers(0, 200))
def test_a_threshold_equals_relabelling(t: Array, f: Array, sure: Array, level: int) -> None:
    found = sweep_thresholds(confidence_histogram(t, f, sure, CLASSES))
    anew = np.where((f != IGNORE) & (sure < level), np.uint8(0), f)
    scores = Scores(confusion_matrix(t, anew, CLASSES))
    np.testing.assert_array_equal(found.iou[level], scores.iou)
    np.testing.assert_array_equal(found.labels[level], scores.matrix.sum(axis=0))


@settings(max_examples=20)
@given(LABELS, LABELS, SURE)
def test_the_best_threshold_is_the_lowest_with_the_best_score(
    t: Array, f: Array, sure: Array
) -> None:
    told = sweep_thresholds(confidence_histogram(t, f, sure, CLASSES)).to_json(LEGEND)

    def miou(level: int) -> float:
        anew = np.where((f != IGNORE) & (sure < level), np.uint8(0), f)
        return Scores(confusion_matrix(t, anew, CLASSES)).mean_iou()

    mious = [miou(level) for level in range(201)]
    if np.isnan(mious[0]):
        assert told["overall"] == {"confidence": None, "miou": None, "gain": None}
        return
    best = int(np.argmax(mious))
    assert told["overall"]["confidence"] == best / 200
    assert told["overall"]["gain"] == pytest.approx(mious[best] - mious[0], abs=1e-4)
    assert told["curves"]["miou"] == pytest.approx(mious[::10], abs=1e-4)


def test_only_a_class_of_low_confidence_gains_from_a_threshold() -> None:
    truth = np.repeat(np.array([0, 0, 1, 2], np.uint8), 10)[None]
    labels = np.repeat(np.array([0, 1, 1, 2], np.uint8), 10)[None]
    sure = np.repeat(np.array([200, 60, 150, 50], np.uint8), 10)[None]
    told = sweep_thresholds(confidence_histogram(truth, labels, sure, CLASSES)).to_json(LEGEND)
    assert told["classes"]["plane"] == {"confidence": 61 / 200, "iou": 1.0, "gain": 0.5}
    assert told["classes"]["ship"] == {"confidence": 0.0, "iou": 1.0, "gain": 0.0}
    assert told["classes"]["harbor"] == {"confidence": None, "iou": None, "gain": None}
    assert told["overall"] == {"confidence": 0.0, "miou": 0.75, "gain": 0.0}
