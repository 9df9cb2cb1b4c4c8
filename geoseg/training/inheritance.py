"""Settings that a training run inherits from the geoseg model it starts from."""

from __future__ import annotations

from statistics import fmean

from geoseg.dataset.folder import Dataset
from geoseg.models.input_bands import match_trained_bands
from geoseg.models.model_file import ModelCard, read_card
from geoseg.models.pretrained import SHIPPED, find_model
from geoseg.raster.bands import default_band_names
from geoseg.training.config import NetworkSection, TrainConfig

DEFAULT_ARCHITECTURE = "two-scale-unet"

_NEAR = 1.5  # ratio up to which pixel sizes of a run extend the inherited range


def choose_initial_weights(network: NetworkSection) -> str | None:
    """Return the source of the initial weights; None for random ones."""
    if network.pretrained is None:
        return SHIPPED if network.architecture is None else None
    return network.pretrained or None


def read_parent(network: NetworkSection) -> ModelCard | None:
    """Return the card of the geoseg model that a run starts from, or None. Raises ModelError if it cannot be read."""
    path = find_model(choose_initial_weights(network))
    return None if path is None else read_card(path)


def inherit_settings(
    config: TrainConfig, dataset: Dataset, parent: ModelCard | None
) -> TrainConfig:
    """Return a configuration in which the settings that are None are those of the parent, or the defaults.

    Parameters
    ----------
    config
        Configuration of the run.
    dataset
        Its dataset, whose bands and data type decide whether mean and std are inherited.
    parent
        Card of the model that it starts from; None without one.
    """
    network, training = config.network, config.training
    architecture = network.architecture or (parent.architecture if parent else DEFAULT_ARCHITECTURE)
    parameters = network.parameters
    if parameters is None:
        same = parent is not None and parent.architecture == architecture
        parameters = dict(parent.parameters) if parent is not None and same else {}
    scaling = {"mean": network.mean, "std": network.std}
    unset = network.mean is None and network.std is None
    if parent and unset:
        scaling = _inherit_scaling(parent, dataset)
    inherited = {
        "architecture": architecture,
        "parameters": parameters,
        "pretrained": choose_initial_weights(network),
        **scaling,
    }
    batch_norm = training.batch_norm or ("running" if parent else "batch")
    return config.model_copy(
        update={
            "network": network.model_copy(update=inherited),
            "training": training.model_copy(update={"batch_norm": batch_norm}),
        }
    )


def _inherit_scaling(parent: ModelCard, dataset: Dataset) -> dict[str, tuple[float, ...] | None]:
    """Return mean and std of the parent for the bands of a dataset of the same data type, or None.

    A band takes those of the parent's band of the same name. Another band of uint8 takes their averages, since its
    values have the same range; of another type it has a range of its own, and nothing is inherited.
    """
    names = parent.band_names or default_band_names(parent.bands, parent.dtype)
    trained = match_trained_bands(names, dataset.band_names)
    if dataset.bands == parent.bands and not (any(names) and any(dataset.band_names)):
        trained = list(range(parent.bands))
    if parent.dtype != dataset.dtype or (None in trained and dataset.dtype != "uint8"):
        return {"mean": None, "std": None}
    return {
        key: tuple(fmean(values) if band is None else values[band] for band in trained)
        for key, values in (("mean", parent.mean), ("std", parent.std))
    }


def range_pixel_sizes(
    own: tuple[float, float] | None, parent: ModelCard | None
) -> tuple[float, float] | None:
    """Return the smallest and largest pixel size that a model is trained for.

    Parameters
    ----------
    own
        Range of the training scenes in metres; None if unknown.
    parent
        Card of the model that it starts from. Its range is kept, and extended by up to `_NEAR`; beyond that only the
        own range counts.
    """
    inherited = parent.pixel_size_m if parent else None
    if own is None or inherited is None:
        return own or inherited
    near = inherited[0] / _NEAR <= own[0] and own[1] <= inherited[1] * _NEAR
    return (min(own[0], inherited[0]), max(own[1], inherited[1])) if near else own
