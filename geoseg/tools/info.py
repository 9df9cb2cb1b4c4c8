"""Facts about a scene, a model file or a dataset folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap
from typing import Any

from rasterio.crs import CRS

from geoseg.dataset.folder import DESCRIPTION, REPORT, Dataset
from geoseg.dataset.statistics import name_statistics
from geoseg.errors import DatasetError, SceneError
from geoseg.models.model_file import load_model
from geoseg.options import StrPath
from geoseg.raster.checks import open_raster
from geoseg.raster.georeference import format_crs
from geoseg.raster.scene import open_scene, read_scene_info

_MAX_LINE = 100


def info(path: StrPath) -> dict[str, Any]:
    """Collect facts about a scene, a model file or a dataset folder.

    Parameters
    ----------
    path
        Raster, ``.safetensors`` file, dataset folder or its ``dataset.json``.

    Returns
    -------
    dict
        JSON data; ``kind`` is scene, model or dataset.

    Raises
    ------
    SceneError, ModelError, DatasetError
        If `path` cannot be read.
    """
    path = Path(path)
    if path.is_dir() or path.name == DESCRIPTION:
        return _describe_dataset(path if path.is_dir() else path.parent)
    if path.suffix.lower() == ".safetensors":
        return _describe_model(path)
    return _describe_scene(path)


def describe(facts: dict[str, Any]) -> str:
    """Format facts as text, a line for each, and for each item of nested ones; long lines are wrapped."""
    entries = list(_format_lines(facts))
    indent = max(len(name) for name, _ in entries)
    lines: list[str] = []
    for name, text in entries:
        parts = wrap(text, _MAX_LINE, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [
            f"{title:<{indent}}  {part}" for title, part in zip_longest([name], parts, fillvalue="")
        ]
    return "\n".join(lines)


def _describe_scene(path: Path) -> dict[str, Any]:
    with open_raster(path) as dataset:
        facts = read_scene_info(dataset, path)
        crs = facts.crs
        described = {
            "kind": "scene",
            "path": str(path),
            "format": dataset.driver,
            "width": facts.width,
            "height": facts.height,
            "bands": facts.count,
            "band_names": list(facts.band_names),
            "band_colours": [colour.name for colour in dataset.colorinterp],
            "dtype": facts.dtype,
            "nodata": facts.nodata,
            "crs": None if crs is None else format_crs(crs),
            "transform": list(facts.transform[:6]),
            "pixel_size_m": facts.pixel_size_m,
        }
    try:
        with open_scene(path) as scene:
            return described | {"read_bands": list(scene.indexes), "problem": None}
    except SceneError as error:
        return described | {"read_bands": [], "problem": str(error).removeprefix(f"{path}: ")}


def _describe_model(path: Path) -> dict[str, Any]:
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


def _describe_dataset(folder: Path) -> dict[str, Any]:
    dataset = Dataset.open(folder)
    splits = sorted({scene.split for scene in dataset.scenes})
    return {
        "kind": "dataset",
        "path": str(folder),
        "bands": dataset.bands,
        "band_names": list(dataset.band_names),
        "dtype": dataset.dtype,
        "statistics": name_statistics(dataset),
        "crs": None if dataset.crs is None else format_crs(CRS.from_wkt(dataset.crs)),
        "scenes": {split: len(dataset.split(split)) for split in splits},
        "legend": dataset.legend.to_json(),
        "objects": {name: counts.objects for name, counts in dataset.layers.items()},
        "found": _summarize_report(folder / REPORT),
    }


def _summarize_report(report: Path) -> dict[str, dict[str, int]]:
    """Count the issues of a validation report by kind and by treatment; empty without a report."""
    issues: dict[str, dict[str, int]] = {}
    try:
        for line in json.loads(report.read_text(encoding="utf-8"))["summary"]:
            issues.setdefault(line["kind"], {})[line["done"]] = int(line["count"])
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as fault:
        raise DatasetError(f"{report}: damaged ({fault!r}). Run geoseg prepare again") from fault
    return issues


def _format_lines(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        title = (prefix + name).replace("_", " ")
        if name == "legend":
            yield title, ", ".join(item["name"] for item in value)
        elif isinstance(value, dict) and _needs_lines(value.values()):
            yield from _format_lines(value, f"{title}: ")
        elif isinstance(value, list) and _needs_lines(value):
            for number, part in enumerate(value):
                yield "" if number else title, _format_value(part)
        else:
            yield title, _format_value(value)


def _needs_lines(parts: Iterable[Any]) -> bool:
    """True for tables and sentences, which would be ambiguous on one line."""
    return any(isinstance(part, dict) or (isinstance(part, str) and " " in part) for part in parts)


def _format_value(value: Any) -> str:
    match value:
        case None | []:
            return "none"
        case "":
            return "-"
        case float():
            return f"{value:.12g}"
        case list():
            return ", ".join(_format_value(part) for part in value)
        case dict():
            return (
                ", ".join(f"{key} {_format_value(part)}" for key, part in value.items()) or "none"
            )
        case _:
            return str(value)
