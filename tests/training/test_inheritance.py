"""What a run takes over from the model that it starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from geoseg.dataset.folder import Dataset
from geoseg.models.model_file import ModelCard, read_card, save_model
from geoseg.raster.bands import RGB
from geoseg.training.config import TrainConfig, parse_config
from geoseg.training.inheritance import inherit_settings, range_pixel_sizes, read_parent
from tests.scenes import card, model_file, tiny_network
from tests.synthetic_dataset import dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.open(dataset(tmp_path_factory.mktemp("drawn"), scenes=1))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_file(tmp_path_factory.mktemp("start") / "start.safetensors")


def inherited(drawn: Dataset, **network: object) -> TrainConfig:
    config = parse_config({"network": network}, "test")
    return inherit_settings(config, drawn, read_parent(config.network))


def test_what_is_not_set_is_that_of_the_parent(drawn: Dataset, start: Path) -> None:
    config, card = inherited(drawn, pretrained=str(start)), read_card(start)
    network = config.network
    assert (network.architecture, network.parameters) == (card.architecture, card.parameters)
    assert (network.mean, network.std) == (card.mean, card.std)
    assert config.training.batch_norm == "running"


def test_what_is_set_stays(drawn: Dataset, start: Path) -> None:
    own = {"architecture": "unet", "parameters": {"width": 7}, "mean": [1.0] * 3, "std": [2.0] * 3}
    network = inherited(drawn, pretrained=str(start), **own).network
    assert network.model_dump(mode="json", include=set(own)) == own


def test_another_architecture_does_not_inherit_parameters(drawn: Dataset, start: Path) -> None:
    network = inherited(drawn, pretrained=str(start), architecture="mobile-unet").network
    assert network.parameters == {}


def test_an_empty_configuration_starts_from_the_shipped_model(drawn: Dataset) -> None:
    network = inherited(drawn).network
    assert (network.architecture, network.pretrained) == ("two-scale-unet", "shipped")


@pytest.mark.parametrize("network", [{"architecture": "unet"}, {"pretrained": ""}])
def test_without_a_parent_weights_are_random(drawn: Dataset, network: dict[str, str]) -> None:
    config = inherited(drawn, **network)
    assert not config.network.pretrained
    assert config.network.mean is None
    assert config.training.batch_norm == "batch"


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ((0.2, 0.3), (0.1, 0.8)),
        ((0.5, 1.0), (0.1, 1.0)),
        ((10.0, 10.0), (10.0, 10.0)),
        (None, (0.1, 0.8)),
    ],
)
def test_a_range_of_pixel_sizes_is_extended_but_not_to_distant_ones(
    own: tuple[float, float] | None, expected: tuple[float, float], start: Path
) -> None:
    card = ModelCard.from_json({**read_card(start).to_json(), "pixel_size_m": [0.1, 0.8]})
    assert range_pixel_sizes(own, card) == expected
    assert range_pixel_sizes(own, None) == own


@pytest.mark.parametrize(
    ("dtype", "names", "expected"),
    [
        ("uint8", ("blue", "green", "red"), (90, 120, 100)),
        ("uint8", ("",), (310 / 3,)),
        ("uint8", ("nir", "red"), (310 / 3, 100)),
        ("uint8", ("", "", ""), (100, 120, 90)),
        ("uint16", ("red", "green", "blue"), None),
    ],
)
def test_mean_and_std_follow_the_names_of_the_bands(
    drawn: Dataset, start: Path, dtype: str, names: tuple[str, ...], expected: tuple[float] | None
) -> None:
    other = replace(drawn, bands=len(names), dtype=dtype, band_names=names)
    network = inherited(other, pretrained=str(start)).network
    assert network.mean == (None if expected is None else pytest.approx(expected))
    assert (network.std is None) == (expected is None)


def test_a_parent_of_other_bands_and_16_bits_gives_no_scaling(
    drawn: Dataset, tmp_path: Path
) -> None:
    deep = replace(card(band_names=RGB), dtype="uint16")
    path = save_model(tmp_path / "deep.safetensors", tiny_network().state_dict(), deep, half=False)
    for names, is_inherited in ((("green", "red"), True), (("green", "nir"), False)):
        other = replace(drawn, bands=2, dtype="uint16", band_names=names)
        network = inherited(other, pretrained=str(path)).network
        assert network.mean == ((120, 100) if is_inherited else None)
