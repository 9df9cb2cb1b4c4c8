"""Polygons to models, models to polygons: semantic segmentation of aerial and satellite scenes.

Every name below is imported when it is first used, so ``import geoseg`` costs nothing. A tool and its module share
a name; ``geoseg.segment`` is the tool, ``from geoseg.segment import …`` reaches the rest of its module.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.annotations import Annotations, burn
    from geoseg.compare import compare, compare_models
    from geoseg.dataset import Dataset
    from geoseg.demo import demo
    from geoseg.errors import GeosegError
    from geoseg.evaluate import evaluate
    from geoseg.export import export
    from geoseg.info import info
    from geoseg.legend import Legend
    from geoseg.model.file import load_model
    from geoseg.polygons.cleaning import Cleaning
    from geoseg.polygons.trace import trace
    from geoseg.prepare import prepare
    from geoseg.preview import preview
    from geoseg.scene import open_scene
    from geoseg.segment import segment
    from geoseg.stats import stats
    from geoseg.train import train
    from geoseg.vectorize import vectorize
    from geoseg.view import view

__version__ = "0.1.0"

__all__ = [
    "Annotations",
    "Cleaning",
    "Dataset",
    "GeosegError",
    "Legend",
    "__version__",
    "burn",
    "compare",
    "compare_models",
    "demo",
    "evaluate",
    "export",
    "info",
    "load_model",
    "open_scene",
    "prepare",
    "preview",
    "segment",
    "stats",
    "trace",
    "train",
    "vectorize",
    "view",
]

_HOME = {
    "Annotations": "annotations",
    "Cleaning": "polygons.cleaning",
    "Dataset": "dataset",
    "GeosegError": "errors",
    "Legend": "legend",
    "burn": "annotations",
    "compare": "compare",
    "compare_models": "compare",
    "demo": "demo",
    "evaluate": "evaluate",
    "export": "export",
    "info": "info",
    "load_model": "model.file",
    "open_scene": "scene",
    "prepare": "prepare",
    "preview": "preview",
    "segment": "segment",
    "stats": "stats",
    "trace": "polygons.trace",
    "train": "train",
    "vectorize": "vectorize",
    "view": "view",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps ``geoseg.segment`` the tool, whichever of tool and module is imported first."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (
            name in _HOME and isinstance(value, ModuleType)
        ):  # what an import of a submodule does
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
