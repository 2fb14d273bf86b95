"""Configurations: frozen dataclasses are the schema, YAML files hold what differs from their defaults.

A file is untrusted: it is read as plain data, and whatever the schema does not know is an error that names the key.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tf_deep3d.errors import InputError
from tf_deep3d.io.files import writing

MAX_BYTES = 1 << 20  # of a file
MAX_NUMBER = 3.4e38  # of single precision
_SHOWN = 200  # characters of a wrong value
_PACKAGE = Path(__file__).parents[1]
PRESETS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")  # of an installed package, of a clone
T = TypeVar("T")  # a frozen dataclass


class ConfigError(InputError):
    """The configuration is not usable; the message names the key and says what was received."""


def find(name: str | Path) -> Path:
    """The configuration file `name`: a path, or the name of a preset of `configs/`.

    Raises:
      FileNotFoundError: if it is neither; the message names the presets.
    """
    known = {path.stem: path for folder in reversed(PRESETS) for path in sorted(folder.glob("*.yaml"))}
    path = Path(name)
    if not path.is_file():
        path = known.get(str(name), path)
    if not path.is_file():
        raise FileNotFoundError(f"No such file or preset ({', '.join(sorted(known)) or 'none found'}): {name}")
    return path


def load(path: str | Path, schema: type[T], overrides: Iterable[str] = ()) -> T:
    """Reads a configuration.

    Args:
      path: YAML file of differences from the defaults, see `find`.
      schema: frozen dataclass; its fields are bool, int, float, str, tuples of one of these, a dataclass, or one of
        them or None.
      overrides: texts "key.key=value", the value in YAML, applied in order.

    Returns:
      An instance of `schema`.

    Raises:
      FileNotFoundError: if there is no such file.
      ConfigError: for an unknown key, a value of another type or out of range, or a file that is no YAML mapping.
    """
    path = find(path)
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{path} must have at most {MAX_BYTES} bytes. Received: {path.stat().st_size}")
    try:
        values = _parse_yaml(path.read_text(encoding="utf-8")) or {}
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} must be a YAML file. Received: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys and values. Received: {_shown(values)}")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"an override must look like key.key=value. Received: {_shown(override)}")
        _assign(values, key.strip().split("."), _parse_yaml(value), override)
    return build(schema, values, str(path))


def build(schema: type[T], values: Any, where: str = "") -> T:
    """An instance of the dataclass `schema` from nested plain data; arguments and errors as of `load`."""
    hints = typing.get_type_hints(schema)
    if not isinstance(values, dict):
        raise ConfigError(f"{where} must hold keys and values. Received: {_shown(values)}")
    if unknown := set(values) - set(hints):
        raise ConfigError(
            f"{where}: unknown key. Known: {', '.join(hints)}. Received: {', '.join(map(str, unknown))[:_SHOWN]}"
        )
    converted = {name: _convert(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    try:
        return schema(**converted)
    except InputError as error:
        raise ConfigError(f"{where}: {error}") from error


def as_plain(settings: Any) -> Any:
    """The opposite of `build`: nested dicts and lists."""
    if dataclasses.is_dataclass(settings):
        return {field.name: as_plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}
    return [as_plain(value) for value in settings] if isinstance(settings, tuple) else settings


def write(path: str | Path, settings: Any, overwrite: bool = False) -> None:
    """Writes every value of `settings`, defaults too, as YAML that `load` reads back."""
    text = yaml.safe_dump(as_plain(settings), sort_keys=False, allow_unicode=True)
    with writing(path, overwrite) as file:
        file.write(text.encode())


class _Plain(yaml.SafeLoader):
    """YAML without aliases, by which a few lines can hold more values than any memory, and with the numbers of YAML
    1.2: no 1:59:59 to the base of 60, whose time grows with the square of its length, and no 010 to that of 8."""

    yaml_implicit_resolvers: typing.ClassVar = {
        first: [(tag, pattern) for tag, pattern in known if tag.rpartition(":")[2] in ("null", "bool", "merge")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuses aliases."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases are not supported. Received: *{self.peek_event().anchor}")
        return super().compose_node(parent, index)


for _kind, _first, _pattern in (
    (int, "-+0123456789", r"[-+]?(0|[1-9][0-9_]{0,30})"),
    (float, "-+.0123456789", r"[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9]+([eE][-+][0-9]+)?|[-+]?\.inf|\.nan"),
):
    _tag = f"tag:yaml.org,2002:{_kind.__name__}"
    _Plain.add_implicit_resolver(_tag, re.compile(f"^({_pattern})$"), list(_first))
    _Plain.add_constructor(
        _tag, lambda loader, node, kind=_kind: _of_yaml(kind, loader.construct_scalar(typing.cast(Any, node)))
    )


def _of_yaml(kind: type[int] | type[float], text: str) -> int | float:
    return kind(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.load(text, _Plain)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(" ".join(str(error).split())[:_SHOWN]) from error


def _shown(value: Any) -> str:
    """What was received, cut to a line."""
    return repr(value)[:_SHOWN]


def _assign(values: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{key} has no keys of its own. Received: {_shown(override)}")
    values[keys[-1]] = value


def _convert(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(Any, hint), value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where} must be a list. Received: {_shown(value)}")
        return tuple(_convert(typing.get_args(hint)[0], item, where) for item in value)
    if hint is float:
        return _number(value, where)
    if (hint is str and isinstance(value, str)) or (hint is bool and isinstance(value, bool)):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    names = {bool: "true or false", int: "a whole number", str: "text"}
    raise ConfigError(f"{where} must be {names[hint]}. Received: {_shown(value)}")


def _number(value: Any, where: str) -> float:
    """YAML reads 1e-4 as text; people mean a number."""
    try:
        if isinstance(value, int | float | str) and not isinstance(value, bool) and abs(float(value)) <= MAX_NUMBER:
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise ConfigError(f"{where} must be a number of single precision. Received: {_shown(value)}")
