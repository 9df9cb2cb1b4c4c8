"""State of the panel, and the geoseg commands that it runs; needs neither QGIS nor geoseg."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

COLOURS = (
    "#e6194b",
    "#3cb44b",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#46f0f0",
    "#f032e6",
    "#bcf60c",
    "#fabebe",
    "#008080",
    "#9a6324",
    "#808000",
)
"""Colours of new classes, in this order."""

ACCEPTED, REJECTED = "accepted", "rejected"
"""Values of the field `status`, besides none."""

SHIPPED = ""
"""Path that stands for the model shipped with geoseg."""

IGNORED = "ignore"
"""Class of polygons whose pixels are ignored in training."""


# --- classes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PanelClass:
    """A class that is annotated."""

    name: str
    colour: str
    """``#rrggbb``"""


def choose_colour(taken: Iterable[str]) -> str:
    """Return the first colour of `COLOURS` that is not taken, or the first if all are."""
    used = set(taken)
    return next((colour for colour in COLOURS if colour not in used), COLOURS[0])


def choose_name(stem: str, taken: Iterable[str]) -> str:
    """Return the first of ``stem 1``, ``stem 2``, … that is not taken."""
    used = set(taken)
    number = 1
    while f"{stem} {number}" in used:
        number += 1
    return f"{stem} {number}"


# --- state -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """State of the panel that is stored in the project."""

    folder: str = ""
    """Folder of annotations, models and results."""

    scene: str = ""
    """ID of the raster layer."""

    model: str = SHIPPED
    """Path of the chosen model."""

    classes: tuple[PanelClass, ...] = ()
    current_class: str = ""
    """Class of the next object that is drawn."""

    annotations: str = ""
    """ID of the layer of annotations."""

    frames: str = ""
    """ID of the layer of frames, whose area is annotated."""

    suggestions: str = ""
    """ID of the layer of suggested frames."""

    result: str = ""
    """ID of the layer of segmented polygons."""

    result_model: str = SHIPPED
    """Path of the model that segmented them."""

    preview: str = ""
    """ID of the layer of the preview."""

    whole_scene: bool = False
    """True if all objects of the scene are annotated, so that no frame is needed."""

    minutes: float = 4.0
    """Time limit of the training."""

    bands: str = ""
    """Numbers or names of the bands of the scene, separated by commas; empty for the default."""

    pixel_size: float = 0.0
    """Side of a pixel in metres of a scene without CRS; 0 if unknown."""

    unfinished: str = ""
    """Path of the model whose training was interrupted, and can be resumed."""

    def to_text(self) -> str:
        """Format as JSON, for a property of the project."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def from_text(text: str) -> Session:
        """Parse the result of `to_text`. Entries that are unknown or of another type are left out."""
        session = Session()
        try:
            entries = json.loads(text)
        except ValueError:
            return session
        if not isinstance(entries, dict):
            return session
        known: dict[str, Any] = {}
        for name, default in asdict(session).items():
            value = entries.get(name, default)
            if name == "classes":
                known[name] = _parse_classes(value)
            elif isinstance(default, float) and type(value) in (int, float):
                known[name] = float(value)
            elif isinstance(value, type(default)):
                known[name] = value
        return replace(session, **known)

    def colour_of(self, name: str) -> str | None:
        """Return the colour of a class, or None if the panel does not have it."""
        return next((item.colour for item in self.classes if item.name == name), None)


def _parse_classes(value: object) -> tuple[PanelClass, ...]:
    items = value if isinstance(value, (list, tuple)) else []
    return tuple(
        PanelClass(str(item["name"]), str(item["colour"]))
        for item in items
        if isinstance(item, dict)
        and item.get("name")
        and re.fullmatch("#[0-9a-fA-F]{6}", str(item.get("colour")))
    )


def default_folder(scene: str, project_folder: str) -> str:
    """Return the folder of a session: ``SCENE-geoseg`` in the folder of the project, or of the scene."""
    stem = os.path.splitext(os.path.basename(scene))[0] or "scene"
    return os.path.join(project_folder or os.path.dirname(os.path.abspath(scene)), f"{stem}-geoseg")


def number_path(folder: str, stem: str, suffix: str) -> str:
    """Return ``folder/stem-N.suffix`` with the number after the highest existing one.

    Files that begin with ``stem-N`` and have another suffix count as well, such as a checkpoint.
    """
    pattern = re.compile(re.escape(stem) + r"-(\d+)(?!\d)")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    numbers = [int(match[1]) for match in map(pattern.match, names) if match]
    return os.path.join(folder, f"{stem}-{max(numbers, default=0) + 1}{suffix}")


def find_models(folders: Iterable[str], recent: Iterable[str]) -> list[str]:
    """List model files: those of some folders by name, then existing recent ones; each once."""
    paths = []
    for folder in folders:
        names = sorted(os.listdir(folder)) if folder and os.path.isdir(folder) else []
        paths += [os.path.join(folder, name) for name in names if is_model(name)]
    paths += [path for path in recent if is_model(path) and os.path.isfile(path)]
    return list(dict.fromkeys(map(os.path.abspath, paths)))


def is_model(path: str) -> bool:
    """Return True for the name of a model file that is not a checkpoint."""
    lower = path.lower()
    return lower.endswith((".safetensors", ".onnx")) and not lower.endswith(
        ".checkpoint.safetensors"
    )


# --- facts about a model -----------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a model card, as printed by ``geoseg info MODEL --json``."""

    name: str = ""
    terms: str = ""
    bands: str = ""
    pixel_sizes: tuple[float, float] | None = None
    """Smallest and largest pixel size of the training scenes in metres, None if unknown."""

    classes: tuple[PanelClass, ...] = ()
    miou: float | None = None
    """Mean IoU without background, 0 to 1."""

    ancestor: str = ""

    @staticmethod
    def from_info(info: Mapping[str, Any]) -> ModelFacts:
        """Select facts. Missing ones are empty."""
        training = info.get("training") or {}
        sizes = info.get("pixel_size_m")
        names = [name for name in info.get("band_names") or [] if name]
        return ModelFacts(
            name=str(training.get("name") or ""),
            terms=str(training.get("terms") or ""),
            bands=", ".join(names) or str(info.get("bands") or ""),
            pixel_sizes=(float(sizes[0]), float(sizes[1])) if sizes else None,
            classes=_parse_classes((info.get("legend") or [])[1:]),
            miou=find_miou(info.get("scores") or {}),
            ancestor=str((training.get("ancestor") or {}).get("name") or ""),
        )


def find_miou(scores: Mapping[str, Any]) -> float | None:
    """Return the mean IoU of the last entry of a card's scores that has one."""
    values = [entry.get("miou") for entry in scores.values() if isinstance(entry, dict)]
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    return numbers[-1] if numbers else None


# --- progress ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingProgress:
    """Loss and score in a progress text of a training."""

    loss: float | None = None
    miou: float | None = None
    """Best mean IoU on the validation windows, 0 to 1."""


def parse_progress(text: str) -> TrainingProgress:
    """Parse a text such as ``train, loss 0.412, mIoU 63.1 %, 0:02 h left``."""
    loss = re.search(r"\bloss (\d+(?:\.\d+)?)", text)
    miou = re.search(r"\bmIoU (\d+(?:\.\d+)?) ?%", text)
    return TrainingProgress(
        float(loss[1]) if loss else None, float(miou[1]) / 100 if miou else None
    )


# --- commands ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SceneArguments:
    """What the commands of a scene have in common."""

    scene: str
    model: str = SHIPPED
    bands: str = ""
    pixel_size: float = 0.0

    def options(self) -> list[str]:
        """Return the options of the model and of the scene's bands and pixel size."""
        return [
            *(["-m", self.model] if self.model else []),
            *(["--bands", self.bands] if self.bands else []),
            *(["--pixel-size", f"{self.pixel_size:.12g}"] if self.pixel_size > 0 else []),
        ]


@dataclass(frozen=True)
class Rasters:
    """Rasters that are written next to the polygons of a scene."""

    labels: str
    uncertainty: str

    @staticmethod
    def beside(polygons: str) -> Rasters:
        """Return the rasters of a file of polygons."""
        stem = os.path.splitext(polygons)[0]
        return Rasters(f"{stem}_labels.tif", f"{stem}_uncertainty.tif")

    def exist(self) -> bool:
        """Return True if both files exist."""
        return os.path.isfile(self.labels) and os.path.isfile(self.uncertainty)

    def options(self) -> list[str]:
        """Return the options of the commands that write or read them."""
        return ["--labels", self.labels, "--uncertainty", self.uncertainty]


def fit_arguments(
    scene: SceneArguments,
    output: str,
    *,
    annotations: str,
    area: str,
    stop_file: str,
    minutes: float,
    resume: bool = False,
) -> list[str]:
    """Return the arguments of ``geoseg fit``; an empty `area` stands for the whole scene."""
    return [
        "fit",
        scene.scene,
        "--annotations",
        annotations,
        *(["--annotated-area", area] if area else []),
        "-o",
        output,
        *scene.options(),
        "--minutes",
        f"{minutes:g}",
        "--stop-file",
        stop_file,
        *(["--resume"] if resume else []),
    ]


def segment_arguments(
    scene: SceneArguments,
    output: str,
    *,
    box: tuple[float, float, float, float] | None = None,
    rasters: Rasters | None = None,
) -> list[str]:
    """Return the arguments of ``geoseg segment``; `box` is left, bottom, right, top in the CRS of the scene."""
    return [
        "segment",
        scene.scene,
        "-o",
        output,
        *scene.options(),
        *([f"--bbox={','.join(f'{side:.12g}' for side in box)}"] if box else []),
        *(rasters.options() if rasters else []),
    ]


def suggest_arguments(
    scene: SceneArguments,
    output: str,
    *,
    frames: int,
    area: str = "",
    rasters: Rasters | None = None,
) -> list[str]:
    """Return the arguments of ``geoseg suggest``.

    Parameters
    ----------
    scene
        Scene, model, bands and pixel size.
    output
        GeoPackage to write.
    frames
        Number of frames.
    area
        File of frames that are annotated already, or "".
    rasters
        Rasters of the same scene and model, instead of predicting them again.
    """
    known = replace(scene, model=SHIPPED, bands="") if rasters else scene
    return [
        "suggest",
        scene.scene,
        *known.options(),
        "-o",
        output,
        "--frames",
        str(frames),
        *(["--annotated-area", area] if area else []),
        *(rasters.options() if rasters else []),
    ]
