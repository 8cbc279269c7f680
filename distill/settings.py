"""Settings as dataclass fields: each declared with its default, help text and check, in one place.

A field is declared with `option(default, help, parse)`. `parse` turns the text of a flag into the
value and raises ValueError with what is allowed; values that come from Python or from a YAML file
go through it as well, so a setting is valid, and of its type, wherever it came from.
"""

from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import yaml
from typing_extensions import override

from distill.parsing import Parse


class Settings(Protocol):
    """Any dataclass whose fields were declared with `option`."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


SettingsT = TypeVar("SettingsT", bound=Settings)


@dataclass(frozen=True)
class FieldInfo:
    """What a flag needs to know about its field."""

    help: str
    parse: Parse
    positional: bool
    many: bool


def option(
    default: Any,
    help: str,  # noqa: A002 (argparse's own word for it)
    parse: Parse,
    *,
    positional: bool = False,
    many: bool = False,
) -> Any:
    """Declare a setting; `default` of None means "decided at run time, as the help says".

    A positional of `many` is a tuple, of none or more values that each pass `parse`.
    """
    return field(default=default, metadata={"info": FieldInfo(help, parse, positional, many)})


def info_of(f: "Field[Any]") -> FieldInfo:
    """Return what `option` recorded."""
    return f.metadata["info"]


def check(cfg: Settings) -> None:
    """Parse every field of a config that is being made; call it from `__post_init__`.

    Raises:
        ValueError: naming the setting, the value and what is allowed.
    """
    for f in fields(cfg):
        value = getattr(cfg, f.name)
        if value is not None:
            object.__setattr__(cfg, f.name, _parse_value(f, value))  # frozen
        elif f.default is not None:
            raise ValueError(f"{flag_of(f)} must have a value, got none")


def flag_of(f: "Field[Any]") -> str:
    """Return how a setting is named on the command line."""
    return f.name if info_of(f).positional else f"--{f.name}"


def _parse_value(f: "Field[Any]", value: Any) -> Any:
    if info_of(f).many:
        values = value if isinstance(value, list | tuple) else [value]
        return tuple(_parse_text(f, str(v)) for v in values)
    return _parse_text(f, str(value))


def _parse_text(f: "Field[Any]", text: str) -> Any:
    try:
        return info_of(f).parse(text)
    except ValueError as error:
        raise ValueError(f"{flag_of(f)} must be {error}, got {text!r}") from None


def to_mapping(cfg: Settings) -> dict[str, Any]:
    """Return the settings as plain values that `yaml.safe_dump` writes and `from_mapping` reads."""
    plain = (bool, int, float, str, type(None))
    found = {f.name: getattr(cfg, f.name) for f in fields(cfg)}
    many = {f.name: list(map(str, found[f.name])) for f in fields(cfg) if info_of(f).many}
    return {k: v if type(v) in plain else str(v) for k, v in found.items()} | many


def from_mapping(cls: type[SettingsT], values: dict[str, Any], *, origin: str) -> SettingsT:
    """Build a config from plain values, as read from YAML.

    Raises:
        ValueError: for a name that is no setting, or a value that is not allowed.
    """
    if unknown := sorted(map(str, values.keys() - {f.name for f in fields(cls)})):
        raise ValueError(f"{origin} holds settings that do not exist: {', '.join(unknown)}")
    return cls(**values)


class _RepeatedError(yaml.YAMLError):
    """A mapping names a setting twice."""


class _Loader(yaml.SafeLoader):
    """Leaves numbers as text for our parsers, as YAML 1.1 reads the schedule `1:0` as 60.

    A name that is there twice is refused; YAML's own reader takes the last.
    """

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in rules if tag.endswith((":bool", ":null"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [str(name) for name in names if names.count(name) > 1]:
            raise _RepeatedError(twice[0])
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; numbers come as text.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not YAML, not a mapping, or names a setting twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    try:
        values = yaml.load(path.read_text(), Loader=_Loader)  # a SafeLoader
    except _RepeatedError as error:
        raise ValueError(f"{path} holds {error} twice") from None
    except (yaml.YAMLError, KeyError, ValueError, RecursionError):  # KeyError: as of !!bool maybe
        raise ValueError(f"{path} is not valid YAML") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold settings as `name: value` lines")
    return values


def non_defaults(cfg: Settings) -> dict[str, Any]:
    """Return the settings that are not at their defaults.

    A class of settings some of whose defaults follow from others has a method, `at_defaults`.
    """
    default = getattr(cfg, "at_defaults", type(cfg))()
    values = {f.name: getattr(cfg, f.name) for f in fields(cfg)}
    return {name: value for name, value in values.items() if value != getattr(default, name)}
