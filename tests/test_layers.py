"""Imports go down only."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "geoseg"

LAYERS = (
    {"_version", "errors", "options", "progress", "system"},
    {"concurrency", "files", "legend", "work_folder"},
    {"raster"},
    {"polygons"},
    {"models"},
    {"annotations"},
    {"dataset"},
    {"inference"},
    {"metrics"},
    {"training"},
    {"report"},
    {"synthetic"},
    {"tools"},
    {"cli", "__main__"},
)
"""Packages and modules of `geoseg`, the lowest first. A module imports its own layer and those before it."""

LAYER = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}
WITHOUT_TORCH = {*LAYERS[0], *LAYERS[1], "raster", "polygons", "annotations", "dataset"}
MODULES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


def package(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name(file: Path) -> str:
    return ".".join(("geoseg", *file.relative_to(PACKAGE).with_suffix("").parts))


def imports(tree: ast.AST, parent: str) -> Iterator[str]:
    """Yield the full name of every import in `tree`, also inside functions: modules, and names from modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = parent.split(".")
            home = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (home, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports_of(file: Path) -> set[str]:
    parent = ".".join(("geoseg", *file.relative_to(PACKAGE).parent.parts))
    return set(imports(parse(file), parent))


def module_of(imported: str) -> str:
    """Return the module of `geoseg` that holds an imported name."""
    parts = imported.split(".")
    while len(parts) > 1:
        path = PACKAGE.joinpath(*parts[1:])
        if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
            return ".".join(parts).removesuffix(".__init__")
        parts.pop()
    return "geoseg"


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_every_module_has_a_layer_and_imports_nothing_above_it(file: Path) -> None:
    assert package(file) in LAYER, f"{name(file)}: add it to LAYERS"
    above = {
        imported
        for imported in imports_of(file)
        if (target := module_of(imported)).startswith("geoseg.")
        and LAYER.get(target.split(".")[1], len(LAYERS)) > LAYER[package(file)]
    }
    assert not above


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_modules_import_public_names_only_through_their_module(file: Path) -> None:
    assert "geoseg" not in {
        module_of(imported) for imported in imports_of(file) if imported.startswith("geoseg.")
    }


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        name(file).removesuffix(".__init__"): {
            module_of(imported) for imported in imports_of(file) if imported.startswith("geoseg.")
        }
        for file in MODULES
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for imported in sorted(graph.get(module, ())):
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_only_the_command_line_imports_click_and_the_lower_layers_no_torch(file: Path) -> None:
    third_party = {imported.split(".")[0] for imported in imports_of(file)}
    if package(file) != "cli":
        assert not third_party & {"click", "rich"}
    if package(file) in WITHOUT_TORCH:
        assert "torch" not in third_party


@pytest.mark.parametrize("file", [f for f in MODULES if package(f) == "cli"], ids=name)
def test_a_command_imports_nothing_heavy_before_it_is_called(file: Path) -> None:
    at_the_top: list[ast.stmt] = [
        node for node in parse(file).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    parent = ".".join(("geoseg", *file.relative_to(PACKAGE).parent.parts))
    roots = {
        imported.split(".")[0]
        for imported in imports(ast.Module(body=at_the_top, type_ignores=[]), parent)
    }
    assert roots <= sys.stdlib_module_names | {"click", "geoseg"}


def test_no_public_name_is_the_name_of_a_module() -> None:
    import geoseg

    modules = {package(file) for file in MODULES}
    assert not modules & set(geoseg.__all__)


def test_a_relative_import_is_understood_too() -> None:
    tree = ast.parse(
        "from ..errors import GeosegError\nfrom . import a\ndef f():\n    import torch.nn"
    )
    assert set(imports(tree, "geoseg.cli")) == {
        "geoseg.errors.GeosegError",
        "geoseg.cli.a",
        "torch.nn",
    }
