"""From a dataclass to the options of a command and back: `parse(Options, arguments, ...)`.

A field is an option, its default is the option's, the docstring below it is its help, its type says what is allowed.
What is wrong is one sentence (`UserError`) in the words of the command line, with the nearest name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import shlex
import shutil
import textwrap
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, Suppress
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from vla_sim.core.bounds import check_bounds
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.terminal import shortened

Options = TypeVar("Options")

# Spellings of earlier versions, and what is written now; "" stands for every command, DIR for a first word without
# an option.
OLD_SPELLINGS: dict[str, dict[str, str]] = {
    "": {"--seed0": "--first-seed", "--from": "--data"},
    "eval": {"--seed": "--first-seed"},
    "benchmark": {"--seed": "--first-seed", "--policies": "--policy"},
    "audit": {"--pictures": "--max-images", "--images": "--max-images", "DIR": "--data DIR"},
    "clone": {"--source": "--data", "--start": "--init", "--policy": "--check-policy"},
    "dagger": {"--policy": "--init"},
    "collect": {"--channel-order": "--store-as"},
    "ppo": {"--lanes": "--num-envs", "--policy": "--init", "--steps": "--control-steps"},
}


@dataclass(frozen=True)
class Command:
    """What its help says beside the options.

    Attributes:
        name: of its module, "vla_sim.eval".
        description: one sentence.
        epilog: notes and examples, printed as they are.
    """

    name: str
    description: str
    epilog: str = ""

    @property
    def prog(self) -> str:
        """How it is started."""
        return f"python -m {self.name}"

    @property
    def short_name(self) -> str:
        """Without its package: "eval"."""
        return self.name.rpartition(".")[2]


def parse(options: type[Options], arguments: Sequence[str], command: Command) -> Options:
    """The options that a command line gives.

    Raises:
        UserError: says in one sentence what cannot be used.
        SystemExit: help was asked for, and printed.
    """
    fields = dict(_fields(options))
    _refuse_unknown(arguments, command.short_name, list(fields))
    if any(argument in ("-h", "--help") for argument in arguments):
        print(help_text(options, command))
        raise SystemExit(0)
    if any("\0" in argument for argument in arguments):
        raise UserError("an argument holds a NUL character")
    with _sentences(list(fields)):
        given: Options = tyro.cli(
            options, prog=command.prog, args=_gathered(arguments, fields), config=_STYLE, registry=_registry()
        )
    check_bounds(given, flag_of)
    return given


def help_text(options: type[Any], command: Command) -> str:
    """What `--help` prints."""
    page, width = io.StringIO(), min(110, shutil.get_terminal_size().columns)
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit), _wide():
        tyro.cli(options, prog=command.prog, description=" ", args=["--help"], config=_STYLE, registry=_registry())
    usage, *lines = _plain(page.getvalue())
    head = [usage, "", *textwrap.wrap(command.description, width)]
    return "\n".join([*head, *_laid_out(lines, width), "", command.epilog]).rstrip()


@contextlib.contextmanager
def _wide() -> Iterator[None]:
    """Let tyro believe in a wide terminal, though not in one on which it would set two columns (130)."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "129"
    try:
        yield
    finally:
        os.environ.pop("COLUMNS")
        os.environ.update({"COLUMNS": before} if before is not None else {})


def _plain(page: str) -> Iterator[str]:
    """The lines of tyro's help without frames, rules, and defaults that say nothing."""
    for line in re.sub(r" *\(default: (None|False|True|)\)", "", page).splitlines():
        inside = line.strip(_FRAME).rstrip()
        if inside.strip(_FRAME + " "):
            yield inside


def _laid_out(lines: Sequence[str], width: int) -> Iterator[str]:
    """Groups with a heading; an option and what it is for stand side by side, or one below the other."""
    option, words = "", [""]
    for line in [*lines, ""]:
        begins = line.startswith("  ") and line[2] != " "
        if begins or not line.startswith("  "):
            yield from _option_lines(option, " ".join(words).split(), width)
            option, words = "", []
        if begins:
            option, _, text = line[2:].partition("  ")
            option, words = f"  {option}", [text]
        elif line.startswith("  "):
            words.append(line)
        elif line:
            yield from ("", f"{line.strip().removesuffix(' options')}:")


def _option_lines(option: str, words: Sequence[str], width: int) -> Iterator[str]:
    """An option and what it is for."""
    if option and (not words or len(option) > _COLUMN - 2):
        yield option
        option = ""
    yield from textwrap.wrap(
        " ".join(words), width, initial_indent=f"{option:{_COLUMN}}", subsequent_indent=" " * _COLUMN
    )


def flag_of(field: str) -> str:
    """'first_seed' -> '--first-seed'."""
    return "--" + field.replace("_", "-")


_STYLE = (FlagCreatePairsOff, OmitArgPrefixes)
_NO_FLAG = (*typing.get_args(Positional[int])[1:], *typing.get_args(Suppress[int])[1:])
_COLUMN = 24
_FRAME = "│─╭╮╰╯|+-"


def _fields(options: type[Any]) -> Iterator[tuple[str, Any]]:
    """(flag, type without annotations) of all fields, nested ones included."""
    hints, marked = typing.get_type_hints(options), typing.get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from _fields(typing.cast(type[Any], hint))
        elif not any(mark in _NO_FLAG for mark in typing.get_args(marked[field.name])):
            yield flag_of(f"no_{field.name}" if hint is bool and field.default is True else field.name), hint


def _refuse_unknown(arguments: Sequence[str], command: str, flags: Sequence[str]) -> None:
    """Answer unknown options with the nearest, and spellings of earlier versions with those of today."""
    moved = {**OLD_SPELLINGS[""], **OLD_SPELLINGS.get(command, {})}
    if "DIR" in moved and arguments and not arguments[0].startswith("-"):
        folder = shortened(arguments[0])
        raise UserError(f"the folder {folder!r} is now given as {moved['DIR'].replace('DIR', shlex.quote(folder))}")
    for argument in arguments:
        flag = argument.partition("=")[0]
        if moved.get(flag):
            raise UserError(f"{flag} is now {moved[flag]}")
        if flag.startswith("--") and flag.replace("_", "-") not in (*flags, "--help"):
            raise UserError(f"unknown option {shortened(flag)}; {suggest(flag, flags, most=len(flags))}")


def _gathered(arguments: Sequence[str], fields: dict[str, Any]) -> list[str]:
    """The arguments with all values of an option that is given several times behind one."""
    several = {flag for flag, hint in fields.items() if typing.get_args(hint)[1:] == (Ellipsis,)}
    others: list[str] = []
    values: dict[str, list[str]] = {}
    taking: list[str] = others
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if flag in several:
            taking = values.setdefault(flag, [])
            taking += [value] if equals else []
            continue
        if argument.startswith("--"):
            taking = others
        taking.append(argument)
    return [*others, *(word for flag, found in values.items() for word in (flag, *found))]


@contextlib.contextmanager
def _sentences(flags: Sequence[str]) -> Iterator[None]:
    """Within, what tyro refuses is a UserError."""
    # A hook that tyro calls unstable; without it, its own message is printed and the exit code is the same.
    from tyro import _errors as tyro_errors

    def refuse(event: Any) -> None:
        text = _sentence(event, flags)
        if text:
            raise UserError(text)

    with tyro_errors.on_parse_error(refuse):
        yield


def _sentence(event: Any, flags: Sequence[str]) -> str:
    kind = type(event).__name__
    if kind == "UnrecognizedArgs":
        return f"unexpected argument {shortened(event.tokens[0])!r}; options are {', '.join(flags)}"
    if kind == "MissingArgs":
        return f"{', '.join(_name(found.arg) for found in event.missing_arguments)} must be given"
    if kind == "InvalidChoice":
        return (
            f"{_name(event.argument)}: unknown choice {shortened(event.value)!r}; {suggest(event.value, event.choices)}"
        )
    if kind == "BadValue":
        return f"{_name(event.argument)} needs {_wanted(event.argument)}"
    if kind == "InstantiationFailure" and event.argument is not None:
        text = event.message if "typing." not in event.message else f"cannot be read as {_wanted(event.argument)}"
        return f"{_name(event.argument)}: {text}"
    return ""


def _name(argument: Any) -> str:
    """How a user knows an argument: its flag, or the name of a positional one."""
    if argument.is_positional():
        return str(argument.field.argconf.metavar or argument.field.intern_name.upper())
    return flag_of(argument.field.intern_name)


def _wanted(argument: Any) -> str:
    hint = argument.field.type_stripped
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    inner = parts[0] if len(parts) == 1 else hint
    wanted = typing.get_args(inner) if typing.get_origin(inner) is tuple else ()
    return f"{len(wanted)} numbers" if wanted and Ellipsis not in wanted else "a value"


def _registry() -> ConstructorRegistry:
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def optional(info: PrimitiveTypeInfo) -> Any:
        """What may be left out is what it is when given; the word None is nothing special."""
        parts = [part for part in typing.get_args(info.type) if part is not type(None)]
        if typing.get_origin(info.type) not in (typing.Union, types.UnionType) or len(parts) != 1:
            return None
        spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(parts[0], info.markers))
        if not isinstance(spec, PrimitiveConstructorSpec):
            return spec
        given = spec
        return dataclasses.replace(
            spec,
            is_instance=lambda value: value is None or given.is_instance(value),
            str_from_instance=lambda value: ["None"] if value is None else given.str_from_instance(value),
        )

    @registry.primitive_rule
    def number(info: PrimitiveTypeInfo) -> Any:
        """Numbers that say what is wrong with them."""
        if info.type not in (int, float):
            return None
        kind, wanted = info.type, "a whole number" if info.type is int else "a number"

        def read(words: list[str]) -> Any:
            try:
                return kind(words[0])
            except ValueError:
                raise ValueError(f"{shortened(words[0])!r} is not {wanted}") from None

        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="N" if kind is int else "X",
            instance_from_str=read,
            is_instance=lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
            str_from_instance=lambda value: [f"{value:g}" if isinstance(value, float) else str(value)],
        )

    return registry


def named(metavar: str) -> Any:
    """An annotation of an option: how its value is called in the help."""
    return tyro.conf.arg(metavar=metavar)


Names = Annotated[tuple[str, ...], named("NAME ...")]
Name = Annotated[str, named("NAME")]
Folder = Annotated[Path, named("DIR")]
OptionalFolder = Annotated[Path | None, named("DIR")]
OptionalFile = Annotated[Path | None, named("FILE")]
OptionalName = Annotated[str | None, named("NAME")]
