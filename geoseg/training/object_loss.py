"""The loss of the object outputs: weighted binary cross-entropy.

``L = Σ_o f_o Σ_i w_i (1 + b_o y_io) BCE_io / (Σ_i w'_i + 0.02 N + 1)`` over the N pixels that are not ignored, where o
is an output, f its factor, y its target, and w' the weight of pixels of objects, larger on small ones. In w, pixels
without objects count too: 0.5 next to objects, 0.05 elsewhere, since the outputs are only read on labels of countable
classes. Touching borders are rare, so b is 2 for them and 0 for the interior.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.legend import IGNORE
from geoseg.training.config import ObjectsSection
from geoseg.training.loss import Reduce

_NEAR = 5  # pixels; distance of the background next to objects
_NEAR_WEIGHT, _FAR_WEIGHT = 0.5, 0.05
_BOOSTS = (0.0, 2.0)  # of interior and touching


@dataclass(frozen=True, slots=True)
class ObjectTensors:
    """The targets of a batch, see `geoseg.training.object_targets.ObjectTargets`."""

    values: Tensor
    """bool (N, 2, size, size)."""

    weight: Tensor
    """float16 (N, size, size)."""


class ObjectLoss:
    """The loss of object outputs.

    Parameters
    ----------
    settings
        Factors of the outputs.
    reduce
        Sums over the processes of a run, as in `geoseg.training.loss.Loss`.
    """

    def __init__(self, settings: ObjectsSection, reduce: Reduce = lambda part: part) -> None:
        self.settings, self.reduce = settings, reduce

    def __call__(self, outputs: Tensor, objects: ObjectTensors, labels: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        outputs
            (N, 2, H, W) logits.
        objects
            Targets.
        labels
            uint8 (N, H, W). Pixels of IGNORE do not count.

        Returns
        -------
        Tensor
            Scalar.
        """
        counted = (labels != IGNORE).float()
        of_objects = objects.weight.float() * counted
        weight = torch.where(objects.weight > 0, of_objects, _weigh_background(objects) * counted)
        target = objects.values.float()
        each = F.binary_cross_entropy_with_logits(outputs.float(), target, reduction="none")
        boost = 1 + target * target.new_tensor(_BOOSTS).reshape(-1, 1, 1)
        sums = (each * boost * weight[:, None]).sum((0, 2, 3))  # (2,)
        factors = sums.new_tensor([self.settings.interior, self.settings.touching])
        norm = self.reduce(of_objects.sum()) + 0.02 * self.reduce(counted.sum()) + 1
        return (factors * self.reduce(sums)).sum() / norm


def _weigh_background(objects: ObjectTensors) -> Tensor:
    """Compute the (N, H, W) weight of pixels without objects."""
    on = (objects.weight > 0).float()[:, None]
    near = F.max_pool2d(on, 2 * _NEAR + 1, stride=1, padding=_NEAR)[:, 0]
    return _FAR_WEIGHT + (_NEAR_WEIGHT - _FAR_WEIGHT) * near
