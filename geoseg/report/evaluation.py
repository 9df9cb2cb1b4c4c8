"""The page of an evaluation: what its scripts draw, and the HTML around it."""

from __future__ import annotations

import base64
import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from geoseg._version import __version__
from geoseg.annotations.burn import Annotations, burn
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.inference.label_source import LabelSource
from geoseg.legend import BACKGROUND, IGNORE, Legend
from geoseg.metrics.evaluation import Rules
from geoseg.models.model_file import Model
from geoseg.options import Difficult
from geoseg.progress import Track, silent
from geoseg.raster.labels import LabelArray, LabelFile
from geoseg.report.backdrop import read_backdrop
from geoseg.report.page import page, resource, text, write_page

_SCRIPTS = (
    *("elements", "tables", "headline", "classes", "confusion"),
    *("curves", "distribution", "zoom", "scenes", "main"),
)
_BINS = 20
_MOST_LINES = 400  # of a learning curve

Evaluation = Mapping[str, Any]
"""What `geoseg evaluate --json` says of one truth; whatever it does not say is left out of the page."""

Facts = tuple[str, Sequence[tuple[str, str]]]
"""A title, and under it names and texts."""


def write_evaluation_page(
    evaluations: Sequence[Evaluation],
    output: Path,
    *,
    counts: Mapping[str, Any] | None = None,
    scenes: Sequence[Mapping[str, Any]] = (),
    rule: str = "",
    learning: Sequence[Mapping[str, Any]] = (),
    provenance: Sequence[Facts] = (),
    card: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one HTML file that shows evaluations of the same model and scenes, one for each truth.

    counts: layer → ``objects`` and ``pixels`` by class, of the split that was scored.
    scenes: `shown.pictures`, each with ``name``, ``rank`` (best, median or worst), ``width`` and ``height``;
    `rule` says how they were chosen. learning: lines of a training log. card: the model's.
    Returns `output`. Raises OutputError.
    """
    data = {
        "evaluations": [
            _shortened(one, {scene["name"] for scene in scenes}) for one in evaluations
        ],
        "counts": counts or {},
        "scenes": list(scenes),
        "rule": rule,
        "learning": _finite(_thinned(learning)),
        "provenance": [[title, [list(fact) for fact in facts]] for title, facts in provenance],
        "card": _finite(card),
    }
    first = evaluations[0]
    title = f"{first['model']} on {first['dataset']}, {first['split']}"
    body = resource("evaluation/body.html")
    html = page(
        title,
        body.replace("{subtitle}", text(_subtitle(first))).replace("{title}", text(title)),
        data=data,
        styles=["evaluation/style.css"],
        scripts=[f"evaluation/{name}.js" for name in _SCRIPTS],
    )
    return write_page(html, output, overwrite=overwrite)


def _subtitle(first: Evaluation) -> str:
    parts = [f"{first['scenes']:,} {'scene' if first['scenes'] == 1 else 'scenes'}"]
    if first.get("pixels"):
        parts.append(f"{first['pixels'] / 1e6:,.1f} million pixels")
    return " · ".join([*parts, f"{len(first['legend']) - 1} classes"])


def _shortened(evaluation: Evaluation, shown: set[str]) -> dict[str, Any]:
    """Without the scores of scenes that are not shown; how they are spread stays."""
    by_scene = {name: _scene(score) for name, score in evaluation.get("by_scene", {}).items()}
    mious = np.array([s["miou"] for s in by_scene.values() if s["miou"] is not None], float)
    spread = {
        "counts": np.histogram(mious, bins=_BINS, range=(0, 1))[0].tolist(),
        "median": float(np.median(mious)) if len(mious) else None,
    }
    return {
        **evaluation,
        "by_scene": {name: score for name, score in by_scene.items() if name in shown},
        "spread": spread if len(mious) > 1 else None,
    }


def _scene(score: Any) -> Mapping[str, Any]:
    """Older evaluations have a number for a scene."""
    return score if isinstance(score, Mapping) else {"miou": score}


def _thinned(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """At most _MOST_LINES and every one with a score, as far as a curve needs them."""
    step = max(1, len(lines) // _MOST_LINES)
    kept = [
        line
        for number, line in enumerate(lines)
        if number % step == 0 or line.get("miou") is not None or number == len(lines) - 1
    ]
    return [{key: line.get(key) for key in ("step", "loss", "miou")} for line in kept]


def _finite(data: Any) -> Any:
    """JSON data without the numbers that JSON has no word for; a training that diverged has some."""
    if isinstance(data, float):
        return data if isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data


# Which scenes are worth a look: the best, those in the middle, and the worst.

EACH = 3

RULE = (
    "Scenes that hold an object, ordered by their own mean IoU without background ({truth}); of equal ones the "
    "one with fewer pixels first. Shown are the first, the middle and the last of {scored}."
)


def choose(scores: Mapping[str, tuple[float | None, int]], *, each: int = EACH) -> dict[str, str]:
    """Scene name → ``best``, ``median`` or ``worst``, at most `each` of a kind, none twice.

    `scores` are mean IoU, None without objects, and pixels of every scene. Best come first, worst last.
    """
    scored = [
        (-score, pixels, name) for name, (score, pixels) in scores.items() if score is not None
    ]
    names = [name for _, _, name in sorted(scored)]
    few = min(each, max(1, len(names) // 3))
    middle = (len(names) - few) // 2
    ranks = {"best": names[:few], "median": names[middle : middle + few], "worst": names[-few:]}
    chosen: dict[str, str] = {}
    for rank, of_rank in ranks.items():
        for name in of_rank:
            chosen.setdefault(name, rank)
    return chosen


# What the numbers of a page come from, as facts: a title, and under it names and texts.

_OF_TRAINING = (
    ("name", "name"),
    ("author", "author"),
    ("data", "trained on"),
    ("layer", "truth"),
    ("terms", "terms of the data"),
    ("steps", "steps"),
    ("hours", "hours"),
    ("date", "date"),
    ("geoseg", "geoseg"),
    ("note", "note"),
    ("failures", "known failures"),
)
"""Keys of a card's training, and what they are called here."""

_DIFFICULT = {"keep": "scored like any other", "ignore": "not counted", "drop": "background"}


def of_model(model: Model) -> Facts:
    """What its card says."""
    card, training = model.card, model.card.training
    parameters = ", ".join(f"{name} {value}" for name, value in card.parameters.items())
    facts = [
        ("file", model.path.name),
        ("sha256", model.sha256),
        (
            "architecture",
            f"{card.architecture} ({parameters})" if parameters else card.architecture,
        ),
        *((title, _text(training[key])) for key, title in _OF_TRAINING if key in training),
    ]
    if lineage := list(_lineage(training)):
        facts.append(("went on from", ", which went on from ".join(lineage)))
    if card.pixel_size_m:
        facts.append(("pixel size", _span(card.pixel_size_m)))
    return "Model", facts


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _lineage(training: Mapping[str, Any]) -> Iterator[str]:
    """The models that one went on from, the last before it first."""
    while isinstance(ancestor := training.get("ancestor"), dict):
        yield f"{ancestor.get('name', 'a model')}, {ancestor.get('steps', '?')} steps"
        training = ancestor


def of_labels(folder: Path) -> Facts:
    """Labels of which nobody knows what made them."""
    return "Labels", [("folder", folder.name)]


def of_data(dataset: Dataset, scenes: Sequence[DatasetScene], layers: Iterable[str]) -> Facts:
    """Of the scenes that were scored."""
    facts = [
        ("dataset", dataset.folder.resolve().name),
        ("split", f"{scenes[0].split}, {len(scenes):,} scenes"),
        ("truths", ", ".join(layers)),
        ("pixels", f"{dataset.bands} bands of {dataset.dtype}"),
    ]
    if sizes := [scene.pixel_size_m for scene in scenes if scene.pixel_size_m]:
        facts.append(("pixel size", f"{_span(sizes)}, known of {len(sizes):,} scenes"))
    if sources := Counter(scene.image_source for scene in scenes if scene.image_source):
        told = (f"{name} {count:,}" for name, count in sources.most_common(8))
        facts.append(("imagery", ", ".join(told)))
    place = CRS.from_wkt(dataset.crs).name if dataset.crs else "local coordinates"
    return "Data", [*facts, ("map", place)]


def of_rules(rules: Rules, evaluation: Mapping[str, Any]) -> Facts:
    """How was counted."""
    intervals = evaluation["intervals"]
    cleaned = [
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {value:g}"
        for name, value in asdict(rules.cleaning).items()
        if value
    ]
    matched = f"polygons, matched at an IoU of {rules.match:g} or more"
    return "Scores", [
        ("difficult", _DIFFICULT[rules.difficult]),
        ("boundary IoU", f"pixels up to {rules.boundary} px from a contour"),
        ("objects", "; ".join([matched, *cleaned])),
        (
            "intervals",
            f"{intervals['level']:.0%}, percentile bootstrap over scenes, "
            f"{intervals['resamples']:,} times",
        ),
    ]


def of_run(command: str) -> Facts:
    """When, by which version, and by which command if one was typed."""
    facts = [
        ("geoseg", __version__),
        ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
    return "Run", [("command", command), *facts] if command else facts


def _span(sizes: Sequence[float]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:.3g} m" if low == high else f"{low:.3g} to {high:.3g} m"


# A scene as pictures of a page: image, truth, labels, and where the two differ.

SIZE = 1024
"""Pixels of a picture's longer side, at most."""

_MOST_BYTES = 700_000  # of a scene's pictures: nine of them, in base64, stay below 10 MB
_WEBP = [cv2.IMWRITE_WEBP_QUALITY, 78]

RIGHT, MISSED, INVENTED, CONFUSED = 1, 2, 3, 4
Colours = Mapping[int, tuple[int, int, int]]
_MISTAKES: Colours = {
    RIGHT: (0, 158, 115),
    MISSED: (213, 94, 0),
    INVENTED: (86, 180, 233),
    CONFUSED: (240, 228, 66),
}
"""Told apart with any vision (Okabe and Ito 2008); the same as in style.css."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A scene at the size of a picture."""

    image: NDArray[np.uint8]
    """(h, w, 3) red, green, blue"""

    labels: NDArray[np.uint8]
    """(h, w) class ids, IGNORE without data"""

    truths: Mapping[str, NDArray[np.uint8]]
    """Layer → (h, w) class ids, IGNORE where nothing counts"""


def look(
    path: Path,
    labels: LabelFile | LabelArray,
    truths: Mapping[str, Annotations],
    *,
    difficult: Difficult = "keep",
) -> Looked:
    """Read a scene, and its labels strip by strip; kept is what a picture shows.

    `labels` lie on the scene's grid, `truths` are in its pixels. Raises SceneError.
    """
    rows, columns = labels.shape
    image = read_backdrop(path, size=min(SIZE, max(rows, columns))).picture
    height, width = image.shape[:2]
    small = np.empty((height, width), np.uint8)
    down, across = _centres(rows, height), _centres(columns, width)
    for strip in labels.strips():
        top = strip.row_off
        part = slice(*np.searchsorted(down, (top, top + strip.height)))
        small[part] = labels.read(strip)[np.ix_(down[part] - top, across)]
    burned = {
        layer: burn(
            annotations,
            height,
            width,
            transform=Affine.scale(width / columns, height / rows),
            difficult=difficult,
        )
        for layer, annotations in truths.items()
    }
    for truth in burned.values():
        truth[small == IGNORE] = IGNORE
    return Looked(image, small, burned)


def mistakes(truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RIGHT, MISSED, INVENTED or CONFUSED where an object is or was seen, 0 elsewhere."""
    there, seen = truth != BACKGROUND, labels != BACKGROUND
    kinds = np.select(
        [there & (truth == labels), there & seen, there, seen],
        [RIGHT, CONFUSED, MISSED, INVENTED],
        0,
    )
    kinds[(truth == IGNORE) | (labels == IGNORE)] = 0
    return kinds.astype(np.uint8)


def pictures(looked: Looked, legend: Legend, *, most_bytes: int = _MOST_BYTES) -> dict[str, Any]:
    """The pictures of a scene as data URIs, with their size: rows, columns, image, labels, truths, mistakes.

    A scene that would take more than `most_bytes` is shown smaller.
    """
    classes = {c.id: legend.rgb(c.id) for c in legend.objects}
    step = 1
    while True:
        labels = looked.labels[::step, ::step]
        truths = {layer: truth[::step, ::step] for layer, truth in looked.truths.items()}
        image = cv2.resize(looked.image, labels.shape[::-1], interpolation=cv2.INTER_AREA)
        encoded = {
            "image": _webp(image),
            "labels": _png(labels, classes),
            "truths": {layer: _png(truth, classes) for layer, truth in truths.items()},
            "mistakes": {
                layer: _png(mistakes(truth, labels), _MISTAKES) for layer, truth in truths.items()
            },
        }
        if step >= max(looked.labels.shape) or _length(encoded) <= most_bytes:
            return {"rows": labels.shape[0], "columns": labels.shape[1], **encoded}
        step *= 2


def _length(encoded: Mapping[str, Any]) -> int:
    """Bytes of data URIs before base64."""
    return sum(
        _length(part) if isinstance(part, Mapping) else len(part) * 3 // 4
        for part in encoded.values()
    )


def _webp(image: NDArray[Any]) -> str:
    done, data = cv2.imencode(".webp", image[..., ::-1], _WEBP)
    if not done:
        raise RuntimeError(f"OpenCV could not encode {image.shape} as WebP")
    return _uri("image/webp", data.tobytes())


def _png(values: NDArray[np.uint8], colours: Colours) -> str:
    """Opaque in the colours that are named, transparent elsewhere."""
    everything = {
        value: (*colours.get(value, (0, 0, 0)), 255 * (value in colours)) for value in range(256)
    }
    height, width = values.shape
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(
            driver="PNG", width=width, height=height, count=1, dtype="uint8", zlevel=9
        ) as png:
            png.write(np.ascontiguousarray(values), 1)
            png.write_colormap(1, everything)
        return _uri("image/png", memory.read())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _centres(pixels: int, shown: int) -> NDArray[np.intp]:
    """The pixel of a scene that lies in the middle of each that is shown."""
    return ((np.arange(shown) + 0.5) * pixels / shown).astype(np.intp)


# What the page of an evaluation shows, gathered: scenes to look at, counts, curves, and where all comes from.

log = logging.getLogger(__name__)

_LARGEST_LOG = 1 << 26  # bytes


def report(
    evaluations: Sequence[Mapping[str, Any]],
    output: Path,
    *,
    dataset: Dataset,
    labelled: LabelSource,
    model: Model | None,
    truths: Mapping[str, Mapping[str, Annotations]],
    rules: Rules,
    command: str = "",
    overwrite: bool = False,
    track: Track = silent,
) -> Path:
    """Write the page of `evaluations` (as JSON) of a split of `dataset`; the best truth comes first.

    `labelled` gives labels of the scenes that are shown once more, `model` is what made them, if that is known.
    `truths` are annotations by layer and scene, `command` is what was typed. Returns `output`.
    Raises SceneError, OutputError.
    """
    evaluations = sorted(evaluations, key=lambda one: one["truth"] != dataset.default_layer)
    first = evaluations[0]
    split = dataset.split(first["split"])
    scores = first["by_scene"]
    chosen = choose({name: (of["miou"], of["pixels"]) for name, of in scores.items()})
    scenes = {scene.name: scene for scene in split}
    scored = sum(of["miou"] is not None for of in scores.values())
    rule = RULE.format(truth=first["truth"], scored=scored)
    if others := len(scores) - scored:
        rule += f" {others} more hold no object."
    return write_evaluation_page(
        evaluations,
        output,
        counts=_counts(dataset, first["split"]),
        scenes=[
            {"rank": chosen[name], **_shown(scenes[name], dataset, labelled, truths, rules)}
            for name in track(list(chosen), "pictures")
        ],
        rule=rule,
        learning=learning_log(model.path) if model else [],
        provenance=[
            of_model(model) if model else of_labels(labelled.path),
            of_data(dataset, split, list(truths)),
            of_rules(rules, first),
            of_run(command),
        ],
        card=model.card.to_json() if model else None,
        overwrite=overwrite,
    )


def _shown(
    scene: DatasetScene,
    dataset: Dataset,
    labelled: LabelSource,
    truths: Mapping[str, Mapping[str, Annotations]],
    rules: Rules,
) -> dict[str, Any]:
    annotations = {layer: of[scene.name] for layer, of in truths.items()}
    with labelled.open(scene) as (labels, _):
        looked = look(dataset.path(scene), labels, annotations, difficult=rules.difficult)
    size = {"width": scene.width, "height": scene.height}
    return {"name": scene.name, **size, **pictures(looked, dataset.legend)}


def _counts(dataset: Dataset, split: str) -> dict[str, Any]:
    return {
        layer: {"objects": of.splits[split].objects, "pixels": of.splits[split].pixels}
        for layer, of in dataset.layers.items()
        if split in of.splits
    }


def learning_log(model: Path) -> list[dict[str, Any]]:
    """The lines of the training log that lies beside a model; none without one."""
    path = model.with_suffix(".log.jsonl")
    if not path.is_file():
        return []
    try:
        if path.stat().st_size > _LARGEST_LOG:
            raise ValueError("it is too large")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [
            {
                key: None if line[key] is None else float(line[key])
                for key in ("step", "loss", "miou")
            }
            for line in lines
        ]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        log.warning("%s: no learning curve is drawn, it is no training log (%s)", path, fault)
        return []
