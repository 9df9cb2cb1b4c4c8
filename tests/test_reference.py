"""The reference pages are up to date, and their examples run."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
from collections import Counter

import click
import pytest

import geoseg
from docs import reference
from geoseg import options
from geoseg.cli import COMMANDS
from geoseg.cli import geoseg as program
from geoseg.options import option_fields

PUBLIC = [name for name in geoseg.__all__ if name != "__version__"]
DATACLASSES = [
    kind
    for kind in vars(options).values()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and option_fields(kind)
]


@pytest.mark.parametrize("page", ["cli", "api"])
def test_the_page_is_what_the_code_gives(page: str) -> None:
    written = (reference.HERE / f"{page}.md").read_text(encoding="utf-8")
    assert written == getattr(reference, f"{page}_page")(), "run: make reference"


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_of_a_public_name_run(name: str) -> None:
    value = getattr(geoseg, name)
    for test in doctest.DocTestFinder().find(value, name):
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_examples_of_the_options_module_run() -> None:
    assert doctest.testmod(options).failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(geoseg, name))


@pytest.mark.parametrize("kind", DATACLASSES)
def test_every_option_has_an_imperative_sentence_as_help(kind: type) -> None:
    for field, info in option_fields(kind):
        first = info.help.split()[0]
        assert first[0].isupper(), field.name
        assert not first.rstrip(",").endswith("ing"), field.name
        assert info.help.endswith("."), field.name


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_examples_and_no_option_twice(name: str) -> None:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    examples = getattr(command, "examples", "").strip().splitlines()
    assert examples
    assert all(name in line for line in examples)
    flags = Counter(flag for parameter in command.params for flag in parameter.opts)
    assert not [flag for flag, number in flags.items() if number > 1]
