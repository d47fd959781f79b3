"""Dataclasses from and to JSON and TOML: the options, the job requests and `run.toml`."""

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from data.errors import InputError
from data.files import atomic_write

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Dataclasses, paths and tuples -> plain JSON values; None values of dataclasses are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {name: to_json(v) for name, v in fields.items() if v is not None}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [to_json(v) for v in value]
    if isinstance(value, dict):
        return {k: to_json(v) for k, v in value.items()}
    return value


def from_json(cls: type[T], content: Any, where: str = "configuration") -> T:
    """The inverse of `to_json`.

    Raises:
        InputError: an unknown name, a missing one, or a value of the wrong type; the text names it.
    """
    if not isinstance(content, dict):
        raise InputError(f"{where} must be a table of names and values, not {type(content).__name__}. Correct it.")
    hints = typing.get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(content) - names)
    if unknown:
        raise InputError(f"{where} has no option '{unknown[0]}'. Known options: {', '.join(sorted(names))}.")
    values = {name: _value(hints[name], value, f"{where}.{name}") for name, value in content.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise InputError(f"{where} is incomplete ({error}). Add what is missing.") from None


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _one_of([a for a in arguments if a is not type(None)], value, where)
    if dataclasses.is_dataclass(hint):
        return from_json(hint, value, where)  # type: ignore[arg-type]
    if origin is typing.Literal:
        if value not in arguments:
            raise InputError(f"{where} cannot be '{value}'. Choose one of {', '.join(map(str, arguments))}.")
        return value
    if hint is Path:
        return Path(str(value)).expanduser()
    if origin is tuple:
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        raise InputError(f"{where} must be {hint.__name__}, not '{value}'. Correct it.")
    return value


def _one_of(hints: list[Any], value: Any, where: str) -> Any:
    """The value as the first of several types that it fits."""
    for hint in hints[:-1]:
        try:
            return _value(hint, value, where)
        except InputError:
            continue
    return _value(hints[-1], value, where)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"The configuration '{path}' does not exist. Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"The configuration '{path}' is not valid TOML ({error}). Correct it.") from None


def write_run_file(task: Any) -> None:
    """`OUT/run.toml`: everything needed to do it again with `lumigraph reconstruct --config run.toml`."""
    import tomli_w

    from data import __version__

    content = to_json(task)
    for name in ("overwrite", "resume"):
        content.pop(name, None)
    content["photos"] = str(Path(task.photos).resolve())
    content["out"] = str(Path(task.out).resolve())
    command = "evaluate" if task.hold_out else "reconstruct"
    header = f"# Made by lumigraph {__version__}. Repeat with: lumigraph {command} --config run.toml --overwrite\n\n"
    atomic_write(Path(task.out) / "run.toml", header.encode() + tomli_w.dumps(content).encode())
