"""A folder of products, one file for each scene."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geoseg.engine.faults import Faults
from geoseg.engine.work import CONFIDENCE, LABELS, PROBABILITIES
from geoseg.errors import ConfigError, OutputError
from geoseg.files import Source
from geoseg.segment import segment

log = logging.getLogger(__name__)


def segment_each(
    scenes: Sequence[Source],
    folder: Path,
    *,
    labels: Path | None = None,
    confidence: Path | None = None,
    probabilities: Path | None = None,
    picture: Path | None = None,
    dota_results: Path | None = None,
    append: bool = False,
    overwrite: bool = False,
    **how: Any,
) -> Path:
    """`segment` for each scene by itself: ``STEM.gpkg`` in `folder`, rasters as ``STEM.tif`` and pictures
    as ``STEM.png`` in folders of theirs; folders are made where they are missing.

    Scenes whose products are all there already are left as they are, unless `overwrite` is on: an
    interrupted run goes on from there. `how` is passed on to `segment`. Returns `folder`. Raises
    SkippedInputsError when some scenes could not be read but others could, and what `segment`
    raises.
    """
    stems = [Path(scene.name).stem for scene in scenes]
    if len({stem.casefold() for stem in stems}) < len(stems):
        raise ConfigError(
            f"{folder}: two scenes have one name, so their products would too. "
            "give each group a folder of its own"
        )
    if dota_results or append:
        raise ConfigError(
            f"{folder}: --append and --dota-results are about one file for all scenes. "
            "give it a name in .gpkg"
        )
    wanted = {
        LABELS: (labels, ".tif"),
        CONFIDENCE: (confidence, ".tif"),
        PROBABILITIES: (probabilities, ".tif"),
        "picture": (picture, ".png"),
    }
    folders = {kind: (path, suffix) for kind, (path, suffix) in wanted.items() if path}
    for made in (folder, *(path for path, _ in folders.values())):
        _make_folder(made)
    faults = Faults(keep_going=len(scenes) > 1)

    def one(scene: Source) -> Path:
        stem = Path(scene.name).stem
        output = folder / f"{stem}.gpkg"
        named: dict[str, Any] = {
            kind: path / f"{stem}{suffix}" for kind, (path, suffix) in folders.items()
        }
        if not overwrite and all(product.exists() for product in (output, *named.values())):
            log.info("%s: is there already", output)
            return output
        return segment(scene, output, overwrite=overwrite, **named, **how)

    done = [output for scene in scenes if (output := faults.tried(one, scene))]
    faults.check(left=len(done))
    faults.tell(folder)
    return folder


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"{folder}: no folder can be made there ({fault.strerror}). choose another name"
        ) from fault
