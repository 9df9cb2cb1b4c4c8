"""Commands whose options come from the options dataclasses, with grouped help and examples."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Container, Mapping
from dataclasses import MISSING
from functools import cache, wraps
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import click

from geoseg.cli.renamed import RENAMED_OPTIONS
from geoseg.options import OptionInfo, group_of, option_fields

GROUPS = ("Input", "Data", "Output", "Polygons", "Chips", "Scores", "Performance")
"""Headings in the help of a command, in this order; options without one follow under General."""

_SHORTHAND = "__shorthand"

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


class Option(click.Option):
    """Option with a heading in the help of its command."""

    def __init__(self, *args: Any, group: str = "General", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return the bracketed remarks of the help; a range only if it has both limits."""
        extra = super().get_help_extra(ctx)
        if "default" in extra:
            extra["default"] = extra["default"].removesuffix(".0").strip("()")
        limits = (getattr(self.type, "min", None), getattr(self.type, "max", None))
        extra.pop("range", None)
        if None not in limits:
            extra["range"] = "{:g} to {:g}".format(*limits)
        return extra


class Command(click.Command):
    """Command that groups its options, ends its help with examples, and knows renamed options."""

    examples: str = ""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section per group of options."""
        sections: dict[str, list[tuple[str, str]]] = {group: [] for group in (*GROUPS, "General")}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections[getattr(parameter, "group", "General")].append(record)
        used = {group: records for group, records in sections.items() if records}
        for group, records in used.items():
            with formatter.section("Options" if len(used) == 1 else group):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples, as they are."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; an option of an earlier version gives an error with its new name."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            new = RENAMED_OPTIONS.get((str(ctx.info_name), error.option_name))
            if new is None:
                raise
            raise click.UsageError(f"{error.option_name}: {new}", ctx) from error


def command(examples: str, name: str | None = None) -> Callable[[Callable[..., None]], Command]:
    """Return a decorator that makes a `Command` of a function; `examples` are lines of a shell."""

    def decorate(function: Callable[..., None]) -> Command:
        made = click.command(name, cls=Command)(function)
        made.examples = examples
        return made

    return decorate


def option(*names: str, group: str = "General", **attributes: Any) -> Callable[..., Any]:
    """Return a decorator that adds an option which is no field of a dataclass."""
    return click.option(*names, cls=Option, group=group, **attributes)


def options_of(
    options: type,
    argument: str,
    *,
    only: Container[str] | None = None,
    flags: Mapping[str, str] = types.MappingProxyType({}),
) -> Decorator:
    """Return a decorator that adds the options of a dataclass to a command.

    Parameters
    ----------
    options
        Dataclass of `geoseg.options`.
    argument
        Name of the argument of the command that gets its instance.
    only
        Names of the fields to offer. Default: all that are options.
    flags
        Names on the command line of fields, where they differ from the declared ones.
    """
    offered = {
        declared.name: (declared, info)
        for declared, info in option_fields(options)
        if only is None or declared.name in only
    }

    flag_of = {
        name: flags.get(name) or info.flag or "--" + name.replace("_", "-")
        for name, (_, info) in offered.items()
    }

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def with_options(**arguments: Any) -> None:
            given = {
                name: _pop_value(arguments, f"{argument}__{name}", flag_of[name], info)
                for name, (_, info) in offered.items()
            }
            try:
                instance = options(**given)
            except ValueError as fault:
                raise click.UsageError(_with_flags(str(fault), flag_of)) from fault
            function(**arguments, **{argument: instance})

        decorated: Callable[..., None] = with_options
        for name in reversed(offered):
            add = option_of(options, name, flag=flag_of[name], argument=f"{argument}__{name}")
            decorated = add(_add_shorthand(options, name, f"{argument}__{name}", decorated))
        return decorated

    return decorate


def _add_shorthand(
    options: type, name: str, argument: str, function: Callable[..., None]
) -> Callable[..., None]:
    """Add the flag that stands for one value of a field to a command, if the field declares one."""
    info = next(info for declared, info in option_fields(options) if declared.name == name)
    if info.shorthand is None:
        return function
    flag, text = info.shorthand.flag, info.shorthand.help
    group = info.group or group_of(options, name)
    add = option(flag, argument + _SHORTHAND, is_flag=True, group=group, help=text)
    decorated: Callable[..., None] = add(function)
    return decorated


def _pop_value(arguments: dict[str, Any], argument: str, flag: str, info: OptionInfo) -> Any:
    """Remove and return the value of a field: that of its option, or of its shorthand."""
    value = arguments.pop(argument)
    if info.shorthand is None or not arguments.pop(argument + _SHORTHAND):
        return value
    source = click.get_current_context().get_parameter_source(argument)
    if source is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError(f"{flag} and {info.shorthand.flag} exclude each other. Choose one")
    return info.shorthand.value


def option_of(
    options: type, name: str, *, flag: str | None = None, argument: str | None = None
) -> Callable[..., Any]:
    """Return a decorator that adds one field of an options dataclass to a command.

    `flag` is its name on the command line, and `argument` that of the command's argument; both are
    by default those of the field.
    """
    declared, info = next(pair for pair in option_fields(options) if pair[0].name == name)
    default = declared.default if declared.default is not MISSING else None
    return option(
        flag or info.flag or "--" + name.replace("_", "-"),
        argument or name,
        group=info.group or group_of(options, name),
        default=default,
        **({} if info.flag_value is None else {"is_flag": False, "flag_value": info.flag_value}),
        **_attributes(_hints(options)[name], info),
        **_help(info, default),
    )


def _with_flags(message: str, flag_of: Mapping[str, str]) -> str:
    """Replace the names of fields in the message of a dataclass by those of the command line."""
    return re.sub(r"\w+", lambda word: flag_of.get(word.group(), word.group()), message)


def _help(info: OptionInfo, default: Any) -> dict[str, Any]:
    shown = info.default_text or not (default is None or default is False or default == ())
    return {"help": info.help, "show_default": shown, "metavar": info.metavar}


def _attributes(hint: Any, info: OptionInfo) -> dict[str, Any]:
    """Return what click has to know of a field's type."""
    members = _members(hint)
    if info.choices:
        return {"type": click.Choice(info.choices), "multiple": get_origin(members[0]) is tuple}
    if info.parse is not None:
        return {"type": Parsed(info.parse, info.metavar or "text", info.minimum)}
    if bool in members:
        return {"is_flag": True}
    if int in members:
        return {"type": click.IntRange(_integer(info.minimum), _integer(info.maximum))}
    if float in members:
        return {"type": click.FloatRange(info.minimum, info.maximum)}
    if any(get_origin(member) is PathLike or member is Path for member in members):
        return {"type": click.Path(path_type=Path)}
    return {"type": str, "multiple": any(get_origin(member) is tuple for member in members)}


def _members(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, without None; literals are their types."""
    union = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    types_of = (tuple(map(type, get_args(m))) if get_origin(m) is Literal else (m,) for m in union)
    return tuple(member for group in types_of for member in group if member is not types.NoneType)


def _integer(limit: float | None) -> int | None:
    return None if limit is None else int(limit)


@cache
def _hints(options: type) -> dict[str, Any]:
    return get_type_hints(options)


T = TypeVar("T")


class Parsed(click.ParamType[Any]):
    """Text that a function of `geoseg.options` converts."""

    def __init__(self, parse: Callable[[str], T], name: str, minimum: float | None) -> None:
        self.parse = parse
        self.name = name
        self.minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the text of the command line; defaults are values already."""
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ValueError as fault:
            self.fail(str(fault), param, ctx)
