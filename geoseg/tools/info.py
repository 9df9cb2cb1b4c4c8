"""What a file or folder is: a scene, a model or a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap
from typing import Any

from geoseg.dataset.folder import DESCRIPTION, REPORT, Dataset
from geoseg.errors import DatasetError, SceneError
from geoseg.models.model_file import load_model
from geoseg.raster.checks import open_raster
from geoseg.raster.scene import open_scene, read_scene_info

_LONGEST_LINE = 100


def info(path: Path) -> dict[str, Any]:
    """Facts about a scene, a model file or a dataset folder, as plain JSON data; ``kind`` says
    which it is.

    Raises SceneError, ModelError or DatasetError when it is none.
    """
    if path.is_dir() or path.name == DESCRIPTION:
        return _dataset(path if path.is_dir() else path.parent)
    if path.suffix.lower() == ".safetensors":
        return _model(path)
    return _scene(path)


def describe(facts: dict[str, Any]) -> str:
    """The same for people to read: a line per fact, and per item of what does not fit a line; long lines wrapped."""
    told = list(_lines(facts))
    indent = max(len(name) for name, _ in told)
    lines: list[str] = []
    for name, text in told:
        parts = wrap(text, _LONGEST_LINE, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [
            f"{title:<{indent}}  {part}" for title, part in zip_longest([name], parts, fillvalue="")
        ]
    return "\n".join(lines)


def _scene(path: Path) -> dict[str, Any]:
    with open_raster(path) as dataset:
        facts = read_scene_info(dataset, path)
        crs = facts.crs
        told = {
            "kind": "scene",
            "path": str(path),
            "format": dataset.driver,
            "width": facts.width,
            "height": facts.height,
            "bands": facts.count,
            "band_colours": [colour.name for colour in dataset.colorinterp],
            "dtype": facts.dtype,
            "nodata": facts.nodata,
            "crs": None if crs is None else crs.to_string(),
            "transform": list(facts.transform[:6]),
            "pixel_size_m": facts.pixel_size_m,
        }
    try:
        with open_scene(path) as scene:
            return told | {"read_bands": list(scene.indexes), "problem": None}
    except SceneError as error:
        return told | {"read_bands": [], "problem": str(error).removeprefix(f"{path}: ")}


def _model(path: Path) -> dict[str, Any]:
    model = load_model(path)
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    return {
        "kind": "model",
        "path": str(path),
        **model.card.to_json(),
        "weights": weights,
        "bytes": path.stat().st_size,
        "sha256": model.sha256,
    }


def _dataset(folder: Path) -> dict[str, Any]:
    dataset = Dataset.open(folder)
    splits = sorted({scene.split for scene in dataset.scenes})
    return {
        "kind": "dataset",
        "path": str(folder),
        "bands": dataset.bands,
        "dtype": dataset.dtype,
        "crs": dataset.crs,
        "scenes": {split: len(dataset.split(split)) for split in splits},
        "legend": dataset.legend.to_json(),
        "objects": {name: counts.objects for name, counts in dataset.layers.items()},
        "found": _found(folder / REPORT),
    }


def _found(report: Path) -> dict[str, dict[str, int]]:
    """What was odd about the input of a dataset → what was done → how often; nothing without a report."""
    found: dict[str, dict[str, int]] = {}
    try:
        for line in json.loads(report.read_text(encoding="utf-8"))["summary"]:
            found.setdefault(line["kind"], {})[line["done"]] = int(line["count"])
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as fault:
        raise DatasetError(f"{report}: damaged ({fault!r}). run geoseg prepare again") from fault
    return found


def _lines(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        title = (prefix + name).replace("_", " ")
        if name == "legend":
            yield title, ", ".join(item["name"] for item in value)
        elif isinstance(value, dict) and _needs_lines(value.values()):
            yield from _lines(value, f"{title}: ")
        elif isinstance(value, list) and _needs_lines(value):
            for number, part in enumerate(value):
                yield "" if number else title, _text(part)
        else:
            yield title, _text(value)


def _needs_lines(parts: Iterable[Any]) -> bool:
    """Whether they could not be told apart on one line: tables and sentences."""
    return any(isinstance(part, dict) or (isinstance(part, str) and " " in part) for part in parts)


def _text(value: Any) -> str:
    match value:
        case None | []:
            return "none"
        case float():
            return f"{value:.12g}"
        case list():
            return ", ".join(_text(part) for part in value)
        case dict():
            return ", ".join(f"{key} {_text(part)}" for key, part in value.items()) or "none"
        case _:
            return str(value)
