"""What a DOTA folder holds: which image belongs to which label file and to which split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rasterio.windows import Window

from geoseg.annotations.validation import IssueKind, ValidationReport
from geoseg.dataset.images import SUFFIXES
from geoseg.errors import AnnotationError, DatasetError, SceneError

IMAGES, LABELS = "images", "labelTxt"


@dataclass(frozen=True, slots=True)
class Source:
    """One image and its label file."""

    name: str

    split: str | None
    """None: not known yet."""

    image: Path
    labels: Path

    window: Window | None = None
    """The part of the image that is meant; None: all of it."""


def find_sources(
    folder: Path, splits: Sequence[str] | None, report: ValidationReport
) -> list[Source]:
    """Pair images with label files; those that have no partner go to `report`.

    Splits are the sub-folders that have `images` (or those named in `splits`); a folder that has
    `images` itself has none. Raises DatasetError when there is nothing to pair.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder. name the one that holds images and labelTxt")
    if (folder / IMAGES).is_dir() and not splits:
        sources = _pairs(folder, None, report)
    else:
        names = splits or sorted(p.name for p in folder.iterdir() if (p / IMAGES).is_dir())
        sources = [source for name in names for source in _pairs(folder / name, name, report)]
    if not sources and not report.errors:
        raise DatasetError(
            f"{folder}: no images in it, nor in sub-folders of it. need images/*.png, .jpg or .tif "
            "beside labelTxt/*.txt"
        )
    return sources


def _pairs(folder: Path, split: str | None, report: ValidationReport) -> list[Source]:
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
                report.reject(
                    AnnotationError(f"{text}: has no image. add it to {where}"), IssueKind.NO_IMAGE
                )
            case [image, other, *_], _:
                report.reject(
                    SceneError(f"{image}: there is also {other.name}. keep one of them"),
                    IssueKind.NAME_CLASH,
                )
            case [image], None:
                report.reject(
                    SceneError(
                        f"{image}: has no label file. if it shows no object, add an empty one"
                    ),
                    IssueKind.NO_LABELS,
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


def check_names(sources: Iterable[Source]) -> None:
    """Raise DatasetError when two scenes would get the same file, on whatever file system."""
    seen: dict[str, Source] = {}
    for source in sources:
        other = seen.setdefault(source.name.casefold(), source)
        if other is not source:
            raise DatasetError(
                f"{source.image}: has the name of {other.image}. rename one of the scenes"
            )
