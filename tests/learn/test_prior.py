import numpy as np
import torch
from torch import nn

from geoseg.learn.prior import background_shift


class Fixed(nn.Module):
    """Gives the logits it was made with, whatever it sees."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, _image: torch.Tensor) -> torch.Tensor:
        return self.logits


def test_a_network_that_sees_too_many_objects_is_brought_back() -> None:
    rng = np.random.default_rng(0)
    truth = np.where(rng.random((1, 64, 64)) < 0.1, rng.integers(1, 3, (1, 64, 64)), 0)
    logits = rng.normal(0, 0.1, (1, 3, 64, 64))
    np.put_along_axis(logits, truth[:, None], 4.0, axis=1)
    logits[:, 1:] += 5.0  # all objects
    batch = np.zeros((1, 1, 64, 64), np.float32), truth.astype(np.uint8)
    network = Fixed(torch.tensor(logits, dtype=torch.float32))
    shift, miou = background_shift(network, [batch], 3, "cpu")
    assert 1.0 < shift < 8.5
    assert miou > 0.99
    logits[:, 0] += shift
    assert (logits.argmax(1) == truth).mean() > 0.99
