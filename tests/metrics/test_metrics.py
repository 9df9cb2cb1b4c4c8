import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
)
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from geoseg.legend import IGNORE, Legend
from geoseg.metrics.confusion import Scores, confusion_matrix

labels = hnp.arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, 3, IGNORE]))


@given(labels, labels)
def test_scores_equal_those_of_scikit_learn(reference: np.ndarray, predicted: np.ndarray) -> None:
    counted = (reference != IGNORE) & (predicted != IGNORE)
    matrix = confusion_matrix(reference, predicted, 4)
    if not counted.any():
        assert not matrix.any()
        return
    t, f = reference[counted], predicted[counted]
    assert (matrix == sklearn_confusion_matrix(t, f, labels=range(4))).all()
    scores = Scores(matrix)
    given_ = {"labels": range(4), "average": None, "zero_division": np.nan}
    np.testing.assert_allclose(scores.precision, precision_score(t, f, **given_))
    np.testing.assert_allclose(scores.recall, recall_score(t, f, **given_))
    occurs = np.unique(np.concatenate([t, f]))
    np.testing.assert_allclose(
        scores.iou[occurs], jaccard_score(t, f, labels=range(4), average=None)[occurs]
    )
    np.testing.assert_allclose(scores.f1, f1_score(t, f, **given_))
    assert scores.accuracy == pytest.approx(accuracy_score(t, f))
    weighted = jaccard_score(t, f, labels=range(4), average="weighted", zero_division=0)
    assert scores.weighted_iou() == pytest.approx(weighted)


def test_the_mean_is_over_the_classes_in_the_reference() -> None:
    scores = Scores(np.array([[50, 0, 10], [0, 30, 0], [0, 0, 0]]))
    assert scores.mean_iou() == 1.0
    assert scores.mean_iou(background=True) == pytest.approx((50 / 60 + 1) / 2)


def test_an_undefined_score_is_none_in_json() -> None:
    legend = Legend.of({"tree": "#00ff00", "car": "#ff0000"})
    data = Scores(np.array([[5, 1, 0], [0, 2, 0], [0, 0, 0]])).to_json(legend)
    assert data["classes"]["car"] == {
        **dict.fromkeys(("iou", "precision", "recall", "f1")),
        "pixels": 0,
        "predicted": 0,
    }
    assert data["classes"]["tree"]["iou"] == pytest.approx(2 / 3, abs=1e-4)
    assert data["classes"]["tree"]["predicted"] == 3
    assert data["pixels"] == 8
    nothing = Scores(np.zeros((3, 3), np.int64)).to_json(legend)
    assert nothing["accuracy"] is nothing["fwiou"] is nothing["miou"] is None
