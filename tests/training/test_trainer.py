from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from geoseg.errors import ConfigError, ModelError
from geoseg.models.two_scale_unet import TwoScaleUNet
from geoseg.models.unet import UNet
from geoseg.training.checkpoint import Checkpoint
from geoseg.training.config import LossSection, TrainConfig, TrainingSection
from geoseg.training.loading import Batch
from geoseg.training.object_loss import ObjectTensors
from geoseg.training.trainer import Trainer, group_parameters, learning_rate


class Plain(nn.Module):
    """One convolution: no batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(image)
        return logits


def small_unet() -> nn.Module:
    return UNet(3, 4, width=4, depth=1)


def learner(network: Callable[[], nn.Module] = Plain, **training: object) -> Trainer:
    torch.manual_seed(0)
    settings = TrainingSection(**{"warmup": 0, "learning_rate": 0.01, "steps": 40, **training})  # type: ignore[arg-type]
    config = TrainConfig(training=settings, loss=LossSection(dice=0.5))
    return Trainer(network(), np.array([0.5, 1, 2, 4.0]), config, "cpu")


def batch(seed: int, size: int = 4) -> Batch:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (size, 16, 16)).astype(np.uint8)
    inputs = rng.normal(size=(size, 3, 16, 16)).astype(np.float32)
    inputs[:, 0] += labels  # something to learn
    return Batch(torch.from_numpy(inputs), torch.from_numpy(labels))


def slopes(of: Trainer) -> list[Tensor]:
    return [p.grad.clone() for p in of.network.parameters() if p.grad is not None]


def test_parts_that_are_accumulated_have_the_mean_of_their_gradients() -> None:
    together, apart = learner(gradient_norm=1e9), [learner(gradient_norm=1e9) for _ in range(2)]
    loss = together.train_step([batch(0), batch(1)])
    losses = [each.train_step([batch(n)]) for n, each in enumerate(apart)]
    assert loss == pytest.approx(np.mean(losses))
    for found, one, other in zip(slopes(together), slopes(apart[0]), slopes(apart[1]), strict=True):
        torch.testing.assert_close(found, (one + other) / 2)


def test_accumulated_cross_entropy_is_that_of_one_large_batch() -> None:
    whole = batch(0, 4)
    halves = [Batch(whole.inputs[part], whole.labels[part]) for part in np.s_[:2, 2:]]
    config = TrainConfig(training=TrainingSection(warmup=0, learning_rate=0.01, gradient_norm=1e9))
    large: list[Any] = []
    small: list[Any] = []
    for found, parts in (
        (large, [whole]),
        (small, halves),
    ):
        torch.manual_seed(0)
        each = Trainer(Plain(), np.ones(4), config, "cpu")
        found.append(each.train_step(parts))
        found.extend(slope.numpy() for slope in slopes(each))
    for one, other in zip(large, small, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_network_learns_and_its_weights_keep_32_bits(precision: str) -> None:
    one = learner(small_unet, precision=precision, learning_rate=0.05)
    losses = [one.train_step([batch(n % 4)]) for n in range(40)]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    floats = [t for t in one.network.state_dict().values() if t.is_floating_point()]
    assert all(t.dtype == torch.float32 and t.isfinite().all() for t in floats)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_learner_goes_on_from_its_state_to_the_same_bytes(tmp_path: Path, precision: str) -> None:
    whole = learner(small_unet, precision=precision)
    for n in range(3):
        whole.train_step([batch(n)])
    Checkpoint(whole.step, whole.state()).save(tmp_path / "c.safetensors")
    read = Checkpoint.load(tmp_path / "c.safetensors")
    other = learner(small_unet, precision=precision)
    other.restore(read.step, read.tensors)
    for n in range(3, 6):
        assert whole.train_step([batch(n)]) == other.train_step([batch(n)])
    for role, tensors in whole.state().items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, other.state()[role][name]), (role, name)


class Forgetful(Plain):
    """With dropout, which draws at random."""

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(image), 0.5, self.training)


def test_what_a_network_draws_depends_on_seed_and_step_alone() -> None:
    whole = learner(Forgetful)
    losses = [whole.train_step([batch(n)]) for n in range(4)]
    first = learner(Forgetful)
    for n in range(2):
        first.train_step([batch(n)])
    second = learner(Forgetful)
    torch.rand(7)  # whatever else drew
    second.restore(first.step, first.state())
    assert [second.train_step([batch(n)]) for n in (2, 3)] == losses[2:]
    assert learner(Forgetful, seed=1).train_step([batch(0)]) != losses[0]


def test_a_step_whose_gradients_overflow_in_half_precision_changes_nothing_but_the_scale() -> None:
    one = learner(precision="float16")
    one.train_step([batch(0)])
    scale, first = one._scaler.get_scale(), next(one.network.parameters())
    before = [p.detach().clone() for p in one.network.parameters()]
    overflow = first.register_hook(lambda slope: slope * float("inf"))
    one.train_step([batch(1)])
    assert all(torch.equal(p, b) for p, b in zip(one.network.parameters(), before, strict=True))
    assert one._scaler.get_scale() == scale / 2
    overflow.remove()
    one.train_step([batch(2)])
    assert not torch.equal(first, before[0])
    assert one.step == 3


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    broken = batch(0)
    broken.inputs[0, 0, 0, 0] = np.nan
    with pytest.raises(ModelError, match="step 1: the loss is not finite"):
        learner().train_step([broken])


def test_the_rate_warms_up_and_then_follows_half_a_cosine() -> None:
    training = TrainingSection(steps=110, warmup=10, learning_rate=1.0)
    rates = [learning_rate(step, training) for step in range(110)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[60] == pytest.approx(0.505)
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)
    assert (np.diff(rates[10:]) <= 0).all()


def test_the_rate_of_a_run_limited_by_time_falls_with_the_time() -> None:
    training = TrainingSection(steps=110, warmup=10, learning_rate=1.0, minutes=3.0)
    assert learning_rate(4, training, 0.5) == pytest.approx(0.5)
    rates = [learning_rate(7000, training, done) for done in (0.0, 0.5, 1.0)]
    assert rates == pytest.approx([1.0, 0.505, 0.01])


def test_both_encoders_of_a_network_have_the_rate_of_encoders() -> None:
    training = TrainingSection(learning_rate=1e-3, encoder_learning_rate=1e-4)
    groups = group_parameters(TwoScaleUNet(3, 4), training)
    slow = {name.partition(".")[0] for g in groups if g.factor < 0.5 for name in g.named}
    assert slow == {"encoder", "fine"}


def test_parts_of_a_network_have_rates_of_their_own() -> None:
    network = TwoScaleUNet(3, 4)
    training = TrainingSection(
        learning_rate=1e-3, encoder_learning_rate=4e-4, learning_rates={"fine": 7e-4}
    )
    factors = {
        name.partition(".")[0]: group.factor
        for group in group_parameters(network, training)
        for name in group.named
    }
    assert factors.pop("encoder") == pytest.approx(0.4)
    assert factors.pop("fine") == pytest.approx(0.7)
    assert set(factors.values()) == {1.0}
    named = [name for group in group_parameters(network, training) for name in group.named]
    assert sorted(named) == sorted(name for name, _ in network.named_parameters())
    with pytest.raises(ConfigError, match=r"no part 'fien'.*fine"):
        group_parameters(network, TrainingSection(learning_rates={"fien": 1e-3}))


def statistics(network: nn.Module) -> list[Tensor]:
    return [tensor.clone() for name, tensor in network.state_dict().items() if "running" in name]


@pytest.mark.parametrize("batch_norm", ["batch", "running"])
def test_running_statistics_of_batch_norm_stay_if_they_are_used(batch_norm: str) -> None:
    one = learner(small_unet, batch_norm=batch_norm, learning_rate=1e-9, weight_decay=0)
    before = statistics(one.network)
    with torch.no_grad():
        logits = one.network.eval()(batch(0).inputs)
    expected = one._loss(logits, batch(0).labels).item()
    loss = one.train_step([batch(0)])
    unchanged = [torch.equal(*pair) for pair in zip(before, statistics(one.network), strict=True)]
    assert all(unchanged) is (batch_norm == "running")
    assert (abs(loss - expected) < 1e-5) is (batch_norm == "running")


def batch_with_objects() -> Batch:
    """Two windows, each with a square object that fills a quarter of it."""
    plain = batch(0, 2)
    inputs = plain.inputs.repeat(1, 1, 4, 4)
    labels = torch.zeros(2, 64, 64, dtype=torch.uint8)
    labels[:, 16:48, 16:48] = 1
    values = torch.zeros(2, 2, 64, 64, dtype=torch.bool)
    values[:, 0, 17:47, 17:47] = True
    return Batch(inputs, labels, ObjectTensors(values, (labels > 0).half()))


def test_objects_are_learned_in_half_precision_too() -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        one = learner(lambda: TwoScaleUNet(3, 4), precision=precision, learning_rate=1e-3)
        losses[precision] = [one.train_step([batch_with_objects()]) for _ in range(2)]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    without = learner(lambda: TwoScaleUNet(3, 4), learning_rate=1e-3)
    plain = replace(batch_with_objects(), objects=None)
    assert without.train_step([plain]) < losses["float32"][0]
