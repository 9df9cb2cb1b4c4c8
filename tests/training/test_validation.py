"""Scores of the object outputs on windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import Tensor, nn

from geoseg.dataset.folder import Dataset
from geoseg.training.loading import Scaling
from geoseg.training.validation import EvenWindows, score_network
from geoseg.training.windows import SplitReader
from tests.synthetic_dataset import dataset


class Thresholds(nn.Module):
    """Outputs of the brightness of each band, so that some pixels are right and others wrong."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, image: Tensor) -> Tensor:
        logits = torch.zeros(len(image), self.classes, *image.shape[2:])
        interior = (image[:, :1] - 150) / 10
        return torch.cat([logits, interior, torch.full_like(interior, -9.0)], dim=1)


def test_the_interior_is_scored_by_pixels(tmp_path_factory: pytest.TempPathFactory) -> None:
    opened = Dataset.open(dataset(tmp_path_factory.mktemp("drawn"), scenes=2, size=96))
    reader = SplitReader(opened, "val", layer=None, difficult="keep")
    windows = EvenWindows(
        reader, Scaling((0.0,) * 3, (1.0,) * 3), size=48, most=8, device="cpu", objects=True
    )
    classes = len(opened.legend)
    scores = score_network(Thresholds(classes), windows, classes=classes)
    expected, found = [], []
    with windows.load() as batches:
        for batch in batches:
            assert batch.objects is not None
            interior = batch.objects.values[0, 0]
            expected.append(interior.numpy().ravel())
            found.append((batch.inputs[0, 0] > 150).numpy().ravel())
    assert scores.interior is not None
    wanted = f1_score(np.concatenate(expected), np.concatenate(found))
    assert 0.05 < wanted < 0.95
    assert scores.interior.f1[1] == pytest.approx(wanted, abs=0.01)
