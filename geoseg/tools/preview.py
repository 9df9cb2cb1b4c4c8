"""Preview the training windows of a configuration."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np

from geoseg.errors import ConfigError
from geoseg.files import check_output
from geoseg.legend import BACKGROUND, IGNORE
from geoseg.options import PreviewOptions, StrPath
from geoseg.progress import Track, silent
from geoseg.raster.stretch import choose_stretch
from geoseg.report.contact_sheet import draw_contact_sheet
from geoseg.training.config import TrainConfig
from geoseg.training.sampler import build_sampler, log_sampling
from geoseg.training.windows import Sample, open_dataset, open_split


def preview(
    config: TrainConfig,
    output: StrPath,
    *,
    options: PreviewOptions = PreviewOptions(),
    track: Track = silent,
) -> Path:
    """Draw the first training windows of a run as a contact sheet, with augmentations and labels.

    Bands named red, green and blue are shown as such, else the first three, or one as grey. uint8 is shown unchanged,
    other types from the 2nd to the 98th percentile of the dataset.

    Parameters
    ----------
    config
        Configuration of the run.
    output
        Picture to write, ``.png``.
    options
        Number of windows, and treatment of an existing picture.
    track
        Wrapper of the windows that reports progress.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    ConfigError, DatasetError, SceneError
        If configuration and dataset do not fit, or a scene cannot be read.
    OutputError
        If the picture exists or cannot be written.
    """
    picture, count = Path(output), options.windows
    check_output(picture, overwrite=options.overwrite)
    if picture.suffix.lower() != ".png":
        raise ConfigError(f"{picture}: a preview is written as .png. Rename it")
    dataset = open_dataset(config.data)
    with closing(open_split(config.data, dataset, "train")) as reader:
        sampler = build_sampler(config, reader)
        log_sampling(sampler, config.data)
        with ThreadPoolExecutor(2) as pool:
            samples = list(track(pool.map(sampler, range(count)), "windows", total=count))
    stretch = choose_stretch(dataset.band_names, dataset.dtype, dataset.statistics)
    return draw_contact_sheet(samples, dataset.legend, stretch, _format_title(samples), picture)


def _format_title(samples: list[Sample]) -> str:
    classes = Counter(
        class_id
        for sample in samples
        for class_id in np.unique(sample.labels).tolist()
        if class_id not in (BACKGROUND, IGNORE)
    )
    empty = sum(not np.isin(s.labels, (BACKGROUND, IGNORE), invert=True).any() for s in samples)
    of = "class" if len(classes) == 1 else "classes"
    return f"{len(samples)} windows, {len(classes)} {of}, {empty} windows without objects"
