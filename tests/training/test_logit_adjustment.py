import numpy as np
import torch
from torch import nn

from geoseg.training.loading import Batch
from geoseg.training.logit_adjustment import fit_logit_shifts


class Fixed(nn.Module):
    """Gives the logits it was made with, whatever it sees."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, _image: torch.Tensor) -> torch.Tensor:
        return self.logits


def test_a_network_that_sees_too_much_of_some_classes_is_brought_back() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(4, (1, 128, 128), p=[0.88, 0.06, 0.06, 0.0]).astype(np.uint8)
    logits = rng.normal(0, 0.1, (1, 4, 128, 128))
    np.put_along_axis(logits, truth[:, None], 4.0, axis=1)
    logits[:, 1:3] += [[[5.0]], [[7.0]]]  # everything is an object, most of them of class 2
    batch = Batch(torch.zeros(1, 1, 128, 128), torch.from_numpy(truth))
    network = Fixed(torch.tensor(logits, dtype=torch.float32))
    shifts = fit_logit_shifts(network, [batch], 4)
    assert shifts[3] == 0  # the labels do not hold it
    mended = (logits + shifts.reshape(1, 4, 1, 1)).argmax(1)
    assert (mended == truth).mean() > 0.99


def test_a_network_that_is_right_stays_as_it_is() -> None:
    truth = np.random.default_rng(0).integers(0, 3, (1, 64, 64)).astype(np.uint8)
    logits = np.zeros((1, 3, 64, 64))
    np.put_along_axis(logits, truth[:, None], 9.0, axis=1)
    batch = Batch(torch.zeros(1, 1, 64, 64), torch.from_numpy(truth))
    assert not fit_logit_shifts(Fixed(torch.tensor(logits)), [batch], 3).any()
