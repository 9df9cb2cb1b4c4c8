"""Targets of the object outputs, decoded again."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import torch

from benchmarks.objects.compare import decode, reference_planes
from benchmarks.objects.decode import (
    CentreSettings,
    ClassRules,
    DistanceSettings,
    InteriorSettings,
)
from benchmarks.objects.network import TwoScaleUNet, warm_start
from benchmarks.objects.scoring import burn_reference
from geoseg.annotations.burn import Annotations, burn
from geoseg.dataset.folder import DatasetScene
from geoseg.models.mobile_unet import MobileUNet

SETTINGS = (
    InteriorSettings(seed=128, touching=256, reach=1),
    DistanceSettings(seed=128, levels=(64,), reach=3),
    CentreSettings(seed=200, radius=2, near=3),
)


@pytest.mark.parametrize("settings", SETTINGS)
def test_perfect_outputs_separate_touching_objects(
    settings: InteriorSettings | DistanceSettings | CentreSettings,
) -> None:
    boxes = [shapely.box(x, 4, x + 6, 15) for x in (2, 8, 14)]  # cars of one row, side by side
    annotations = Annotations(np.array(boxes, object), np.full(3, 1, np.uint8), np.zeros(3, bool))
    scene = DatasetScene("s", "s.tif", "val", 24, 20, None, None, (1, 0, 0, 0, 1, 0))
    countable = np.array([False, True])
    planes = reference_planes(burn_reference(annotations, scene), countable)
    planes["labels"] = burn(annotations, scene.height, scene.width)
    objects = decode(planes, settings, ClassRules(countable, np.ones(2, np.int64)))
    assert objects.pixels.tolist() == [66, 66, 66]


def test_the_warm_start_computes_the_logits_of_the_mobile_unet() -> None:
    torch.manual_seed(0)
    mobile = MobileUNet(3, 4, pool=2).eval()
    network = TwoScaleUNet(3, 4).eval()
    warm_start(network, mobile.state_dict())
    image = torch.randn(1, 3, 128, 192)
    with torch.no_grad():
        expected, logits = mobile(image), network(image)[:, :4]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
