"""The walls of the house: imports go down only."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "geoseg"

LAYERS = {
    4: {"cli", "__main__"},
    3: {
        "prepare",
        "train",
        "evaluate",
        "compare",
        "segment",
        "segment_each",
        "vectorize",
        "export",
        "qgis",
        "info",
        "margin",
        "stats",
        "tile",
        "preview",
        "view",
        "demo",
    },
    2: {"model", "learn", "engine", "device", "polygons", "report", "score"},
    1: {
        *("errors", "legend", "files", "progress"),
        *(
            "grid",
            "scene",
            "preflight",
            "bands",
            "ground",
            "mosaic",
            "rescale",
            "area",
            "vector_file",
            "unfinished",
            "heap",
        ),
        *("annotations", "dota", "dataset"),
    },
}
LAYER = {room: layer for layer, rooms in LAYERS.items() for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))
INSIDE = [
    file for file in FILES if file != PACKAGE / "__init__.py"
]  # which only points to the rest


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Full names of everything imported anywhere in `tree`, also inside functions: modules, and names from modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            home = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (home, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imports_of(file: Path) -> set[str]:
    package = ".".join(("geoseg", *file.relative_to(PACKAGE).parent.parts))
    return set(imports(ast.parse(file.read_text(encoding="utf-8")), package))


def name(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("file", INSIDE, ids=name)
def test_every_file_has_a_layer_and_imports_nothing_above_it(file: Path) -> None:
    assert room(file) in LAYER, f"{name(file)}: say in LAYERS where it belongs"
    above = {
        imported
        for imported in imports_of(file)
        if imported.startswith("geoseg.")
        and imported != "geoseg.__version__"
        and LAYER.get(imported.split(".")[1], 9) > LAYER[room(file)]
    }
    assert not above


@pytest.mark.parametrize("file", INSIDE, ids=name)
def test_only_the_command_line_imports_click_and_the_vocabulary_no_torch(file: Path) -> None:
    third_party = {imported.split(".")[0] for imported in imports_of(file)}
    if LAYER[room(file)] < 4:
        assert not third_party & {"click", "rich"}
    if LAYER[room(file)] == 1:
        assert "torch" not in third_party


@pytest.mark.parametrize("file", [f for f in INSIDE if room(f) == "cli"], ids=name)
def test_a_command_imports_nothing_heavy_before_it_is_called(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    at_the_top: list[ast.stmt] = [
        node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    package = ".".join(("geoseg", *file.relative_to(PACKAGE).parent.parts))
    roots = {
        imported.split(".")[0]
        for imported in imports(ast.Module(body=at_the_top, type_ignores=[]), package)
    }
    assert roots <= sys.stdlib_module_names | {"click", "geoseg"}


def test_a_relative_import_is_understood_too() -> None:
    tree = ast.parse(
        "from ..errors import GeosegError\nfrom . import a\ndef f():\n    import torch.nn"
    )
    assert set(imports(tree, "geoseg.cli")) == {
        "geoseg.errors.GeosegError",
        "geoseg.cli.a",
        "torch.nn",
    }
