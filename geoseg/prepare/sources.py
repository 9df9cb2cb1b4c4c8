"""What a DOTA folder holds: which image belongs to which label file and to which split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rasterio.windows import Window

from geoseg.errors import AnnotationError, DatasetError, SceneError
from geoseg.prepare.images import SUFFIXES
from geoseg.prepare.threads import Faults

IMAGES, LABELS = "images", "labelTxt"
TRAIN, VAL = "train", "val"


@dataclass(frozen=True, slots=True)
class Source:
    """One image and its label file."""

    name: str
    split: str
    image: Path
    labels: Path

    window: Window | None = None
    """The part of the image that is meant; None: all of it."""


def find_sources(
    folder: Path, splits: Sequence[str] | None, val_share: float, faults: Faults
) -> list[Source]:
    """Pair images with label files; those that have no partner go to `faults`.

    Splits are the sub-folders that have `images` (or those named in `splits`); a folder that has
    `images` itself is split by its scenes' names, `val_share` of them into *val*. Raises
    DatasetError when there is nothing to pair.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder. name the one that holds images and labelTxt")
    if (folder / IMAGES).is_dir() and not splits:
        pairs = _pairs(folder, TRAIN, faults)
        val = _drawn([source.name for source in pairs], val_share)
        sources = [replace(s, split=VAL) if s.name in val else s for s in pairs]
    else:
        names = splits or sorted(p.name for p in folder.iterdir() if (p / IMAGES).is_dir())
        sources = [source for name in names for source in _pairs(folder / name, name, faults)]
    if not sources and not faults.found:
        raise DatasetError(
            f"{folder}: no images in it, nor in sub-folders of it. need images/*.png, .jpg or .tif "
            "beside labelTxt/*.txt"
        )
    check_names(sources)
    return sources


def _pairs(folder: Path, split: str, faults: Faults) -> list[Source]:
    images: dict[str, list[Path]] = {}
    for path in _files(folder, IMAGES):
        if path.suffix.lower() in SUFFIXES:
            images.setdefault(path.stem, []).append(path)
    labels = {p.stem: p for p in _files(folder, LABELS) if p.suffix.lower() == ".txt"}
    sources = []
    for name in sorted(images.keys() | labels.keys()):
        match images.get(name, []), labels.get(name):
            case [], text:
                where = folder / IMAGES
                faults.add(AnnotationError(f"{text}: has no image. add it to {where}"))
            case [image, other, *_], _:
                faults.add(SceneError(f"{image}: there is also {other.name}. keep one of them"))
            case [image], None:
                faults.add(
                    SceneError(
                        f"{image}: has no label file. if it shows no object, add an empty one"
                    )
                )
            case [image], Path() as text:
                sources.append(Source(name, split, image, text))
    return sources


def _files(folder: Path, name: str) -> list[Path]:
    if not (folder / name).is_dir():
        raise DatasetError(
            f"{folder}: has no folder {name}. add it, or name the splits to use: --splits train,val"
        )
    return sorted(p for p in (folder / name).iterdir() if p.is_file() and p.name[0] != ".")


def _drawn(names: list[str], share: float) -> set[str]:
    """`share` of the names, but one at least if there are two; nearly the same of nearly the same."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    count = round(share * len(names)) or int(share > 0 and len(names) > 1)
    return set(ranked[:count])


def check_names(sources: Sequence[Source]) -> None:
    """Raise DatasetError when two scenes would get the same file, on whatever file system."""
    seen: dict[str, Source] = {}
    for source in sources:
        other = seen.setdefault(source.name.casefold(), source)
        if other is not source:
            raise DatasetError(
                f"{source.image}: has the name of {other.image}. rename one of the scenes"
            )
