"""Command lines made from settings: a field of a dataclass is a flag, its help text the flag's."""

import argparse
import difflib
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Generic, NamedTuple, NoReturn

from typing_extensions import override

from distill.parsing import flag
from distill.settings import (
    Settings,
    SettingsT,
    flag_of,
    from_mapping,
    info_of,
    non_defaults,
    read_yaml,
)


def _read_settings(path: Path) -> dict[str, Any]:
    """Read a file of settings, which may be a run's own config.yaml.

    The latter keeps them under a key; where that run was written is not a setting to repeat.
    """
    try:
        values = read_yaml(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"--config {error}") from None
    settings = values.get("settings")
    if not isinstance(settings, dict):
        return values
    return {k: v for k, v in settings.items() if k not in ("run_dir", "resume")}


def _free_to_follow(
    cls: type[Settings], settings: Mapping[str, Any], asked: Container[str]
) -> dict[str, Any]:
    """Leave out of a file's settings the defaults that followed from one that a flag gives.

    A class names them as `FOLLOWS`: of each setting which other one decides its default.
    """
    kept = dict(settings)
    for name, decider in getattr(cls, "FOLLOWS", {}).items():
        if decider in asked and {name, decider} <= settings.keys():
            default = cls(**{decider: settings[decider]})
            if settings[name] == str(getattr(default, name)):
                del kept[name]
    return kept


class Parser(argparse.ArgumentParser):
    """A parser that names what is wrong in one line."""

    @override
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}{self._hint(message)}\n")

    def _hint(self, message: str) -> str:
        """Say what may have been meant by an unknown flag, or by a value for one that has none."""
        if re.fullmatch(r"unrecognized arguments: (true|false)", message, re.IGNORECASE):
            return "; a switch takes no value: write --NAME or --no-NAME alone"
        if switch := re.match(r"argument (--[^\s/]+)/(--no-\S+): ignored explicit", message):
            return f"; write {switch[1]} or {switch[2]} alone"
        if not (found := re.match(r"unrecognized arguments: --([^\s=]+)", message)):
            return ""
        name = found[1].replace("-", "_")
        if name in (action.dest for action in self._actions if not action.option_strings):
            return f"; {name} is given without a flag"
        flags = [flag for action in self._actions for flag in action.option_strings]
        close = [flag for flag in flags if flag.startswith(f"--{name}_")]
        close += difflib.get_close_matches(f"--{name}", flags, n=1, cutoff=0.8)
        return f"; did you mean {close[0]}?" if close else "; --help lists what there is"


class RecordParser(Parser):
    """A parser of commands on record: nobody is there to be told what is wrong with one."""

    @override
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _add_flags(parser: argparse.ArgumentParser, cls: type[Settings]) -> None:
    """Add a flag a field, in groups where the class has `HEADINGS`, by the name of their first."""
    headings: Mapping[str, str] = getattr(cls, "HEADINGS", {})
    add = parser.add_argument
    for f in fields(cls):
        if f.name in headings:
            add = parser.add_argument_group(headings[f.name]).add_argument
        _add_flag(add, f)


def _add_flag(add: Callable[..., object], f: "Field[Any]") -> None:
    info, default = info_of(f), f.default
    text = info.help.replace("%", "%%") + (
        "" if default in (None, MISSING, ()) else f" (default: {default})"
    )
    if info.positional:
        add(f.name, nargs="*" if info.many else "?", default=None, help=text)
    elif info.parse is flag:
        action = argparse.BooleanOptionalAction
        add(f"--{f.name}", action=action, default=None, help=text)
    else:
        add(f"--{f.name}", metavar=f.name.upper(), default=None, help=text)


class Asked(NamedTuple, Generic[SettingsT]):
    """What a command line asked for."""

    settings: SettingsT
    names: frozenset[str]  # of the settings that were given, be it at their defaults


def parse_settings(
    cls: type[SettingsT], description: str, argv: Sequence[str] | None = None
) -> SettingsT:
    """Read a command line as `parse_command` does; returns the settings alone."""
    return parse_command(cls, description, argv).settings


def parse_record(cls: type[SettingsT], words: Sequence[str]) -> SettingsT:
    """Read the words of a command on record; ValueError if they are another version's."""
    return parse_command(cls, "", words, parser_class=RecordParser).settings


def parse_command(
    cls: type[SettingsT],
    description: str,
    argv: Sequence[str] | None = None,
    *,
    parser_class: type[Parser] = Parser,
) -> Asked[SettingsT]:
    """Read a command line; flags override `--config FILE`, which overrides the defaults.

    Exits with status 2 and one line on standard error if a flag is unknown, abbreviated or wrong.
    """
    raw = argparse.RawDescriptionHelpFormatter  # docstrings have lines of their own
    parser = parser_class(description=description, allow_abbrev=False, formatter_class=raw)
    _add_flags(parser, cls)
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings; flags override it")
    many = any(info_of(f).many for f in fields(cls))  # which may stand on both sides of a flag
    found = vars(parser.parse_intermixed_args(argv) if many else parser.parse_args(argv))
    asked = {name: value for name, value in found.items() if value not in (None, [])}
    texts = ["config", *(f.name for f in fields(cls) if info_of(f).parse in (str, Path))]
    try:
        config_file = asked.pop("config", None)
        settings = _read_settings(Path(config_file)) if config_file else {}
        settings = _free_to_follow(cls, settings, asked)
        values = {**settings, **asked}
        given = {**values, "config": config_file}
        if empty := [name for name in texts if given.get(name) == ""]:
            parser.error(f"--{empty[0]} must not be empty")
        cfg = from_mapping(cls, values, origin=f"--config {config_file}")
        return Asked(cfg, frozenset(values))
    except (ValueError, OSError) as error:
        parser.error(str(error))


def to_argv(cfg: Settings, names: Container[str] | None = None) -> list[str]:
    """Return the command line that gives these settings; those at their defaults are left out.

    With `names` it is that of the settings called so.
    """
    words: list[str] = []
    known = {f.name: f for f in fields(cfg) if names is None or f.name in names}
    for name, value in non_defaults(cfg).items():
        if name not in known:
            continue
        info = info_of(known[name])
        if info.parse is flag:
            words.append(_spelled(known[name], value))
        elif info.positional:
            words += map(str, value if info.many else [value])
        else:
            words += [f"--{name}", str(value)]
    return words


def flags(cfg: Settings, names: Iterable[str]) -> list[str]:
    """Return how some settings are spelled on the command line, in their one order."""
    return [_spelled(f, getattr(cfg, f.name)) for f in fields(cfg) if f.name in set(names)]


def _spelled(f: "Field[Any]", value: object) -> str:
    return f"--no-{f.name}" if value is False else flag_of(f)


class Switch(NamedTuple, Generic[SettingsT]):
    """What some settings need, so that anything listens to them."""

    needed: str  # as one types it
    is_on: Callable[[SettingsT], bool]
    names: tuple[str, ...]  # of the settings that need it


def refuse_unheard(asked: Asked[SettingsT], switches: Iterable[Switch[SettingsT]]) -> None:
    """Refuse settings that would change nothing, as what listens to them is off.

    Raises:
        ValueError: naming them and what they need.
    """
    cfg = asked.settings
    changed = non_defaults(cfg).keys() & asked.names
    for switch in switches:
        unheard = flags(cfg, changed & set(switch.names))
        if unheard and not switch.is_on(cfg):
            raise ValueError(f"{', '.join(unheard)} without {switch.needed} would change nothing")
