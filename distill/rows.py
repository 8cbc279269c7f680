"""Records of one kind as the rows of a CSV file, and back."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from distill.files import write_text

RowT = TypeVar("RowT")


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Write records of one kind as CSV, a column a field; None as nothing."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_text(path, text.getvalue())


def put_rows(
    path: Path, kind: type[Any], new: Sequence[Any], *, is_same: Callable[[Any, Any], bool]
) -> None:
    """Add records with a `run` to a CSV file, one or more a run; those of a run in it are replaced.

    Args:
        path: of the file.
        kind: the records, named tuples.
        new: to add.
        is_same: whether two records of runs of one name are of one run.

    Raises:
        ValueError: if another run of the same name is in it.
    """
    known, fresh = _by_run(read_rows(path, kind)), _by_run(new)
    for run in known.keys() & fresh.keys():
        if not is_same(fresh[run][0], known[run][0]):
            raise ValueError(
                f"{path} has another run called {run}: rename the folder, or remove its rows there"
            )
    write_rows(path, kind._fields, [row for rows in (known | fresh).values() for row in rows])


def _by_run(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.run, []).append(row)
    return found


def read_rows(
    path: Path, kind: Callable[..., RowT], *, is_being_written: bool = False
) -> list[RowT]:
    """Read what `write_rows` wrote as records of this kind; nothing if there is no such file.

    Args:
        path: of the file.
        kind: the records, whose field names are the columns.
        is_being_written: its end may be missing; a last line without one is left out.

    Raises:
        ValueError: if the file is damaged, naming it and the line.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            text = file.read()
        if is_being_written:
            text = text[: text.rfind("\n") + 1]
            if not text:
                return []
        return _records(path, text, kind)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _records(path: Path, text: str, kind: Callable[..., RowT]) -> list[RowT]:
    """Read a file's text, as `read_rows` does."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    parsers = {name: _parser(hint) for name, hint in get_type_hints(kind).items()}
    header = set(reader.fieldnames or ())
    if not header or not header <= parsers.keys():
        raise ValueError(f"{path} is damaged: its first line must be of {', '.join(parsers)}")
    rows: list[RowT] = []
    for row in reader:
        try:
            if missing := [name for name, text in row.items() if text is None]:
                raise ValueError(f"{missing[0]} is missing")
            rows.append(kind(**{name: parsers[name](text) for name, text in row.items()}))
        except (KeyError, TypeError, ValueError) as error:
            line = reader.line_num
            raise ValueError(f"{path} is damaged at line {line}: {error!r}") from None
    return rows


def _parser(hint: Any) -> Callable[[str], Any]:
    if get_args(hint) == (float, type(None)):
        return lambda text: float(text) if text else None
    return hint
