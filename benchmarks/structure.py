"""Measure the structure of a package: modules, function lines, arguments, importers and duplicate type names.

python -m benchmarks.structure geoseg
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path


def count_body_lines(function: ast.FunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def count_arguments(function: ast.FunctionDef) -> int:
    """Return the number of named arguments, without self and cls."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in named)


def imported_names(tree: ast.Module) -> set[str]:
    """Return modules and names of modules that are imported anywhere."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def summarize(values: Sequence[int]) -> str:
    """Return the median, the 90th percentile and the maximum."""
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]} / {ordered[len(ordered) * 9 // 10]} / {ordered[-1]}"


def main(package: Path) -> None:
    """Print the measures of a package."""
    trees = {p: ast.parse(p.read_text(encoding="utf-8")) for p in sorted(package.rglob("*.py"))}
    functions = [n for t in trees.values() for n in ast.walk(t) if isinstance(n, ast.FunctionDef)]
    classes = Counter(n.name for t in trees.values() for n in t.body if isinstance(n, ast.ClassDef))
    modules = {
        ".".join((package.name, *p.relative_to(package).with_suffix("").parts)) for p in trees
    }
    importers: dict[str, int] = defaultdict(int)
    for tree in trees.values():
        for module in imported_names(tree) & modules:
            importers[module] += 1
    rows = {
        "modules": len(trees),
        "lines": sum(len(p.read_text(encoding="utf-8").splitlines()) for p in trees),
        "function lines without docstring, median / p90 / max": summarize(
            [count_body_lines(f) for f in functions]
        ),
        "arguments, median / p90 / max": summarize([count_arguments(f) for f in functions]),
        "modules with one importer": sum(count == 1 for count in importers.values()),
        "classes defined twice": sum(count > 1 for count in classes.values()),
    }
    for name, value in rows.items():
        print(f"{name:<56}{value:>16}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
