"""Look before training: the windows that a configuration draws, with their labels."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from geoseg.errors import ConfigError
from geoseg.files import check_output
from geoseg.legend import BACKGROUND, IGNORE
from geoseg.progress import Track, silent
from geoseg.report.contact_sheet import draw_sheet
from geoseg.training.config import TrainConfig
from geoseg.training.setup import opened_dataset, sampler_of, scenes_of
from geoseg.training.windows import Sample


def preview(
    config: TrainConfig,
    output: Path,
    *,
    windows: int = 24,
    overwrite: bool = False,
    track: Track = silent,
) -> Path:
    """Draw the first `windows` samples of the run that `config` describes to `output` (``.png``).

    They are what the training sees, pixel for pixel. Raises ConfigError, DatasetError, SceneError,
    OutputError.
    """
    check_output(output, overwrite=overwrite)
    if output.suffix.lower() != ".png":
        raise ConfigError(f"{output}: a preview's name ends in .png. rename it")
    dataset = opened_dataset(config)
    sampler = sampler_of(config, scenes_of(config, dataset, "train"), tell=True)
    with ThreadPoolExecutor(2) as pool:
        samples = list(track(pool.map(sampler, range(windows)), "windows", total=windows))
    return draw_sheet(samples, dataset.legend, _title(samples), output)


def _title(samples: list[Sample]) -> str:
    held = Counter(
        class_id
        for sample in samples
        for class_id in np.unique(sample.labels).tolist()
        if class_id not in (BACKGROUND, IGNORE)
    )
    empty = sum(not np.isin(s.labels, (BACKGROUND, IGNORE), invert=True).any() for s in samples)
    return f"{len(samples)} windows, {len(held)} classes, {empty} windows without objects"
