"""Markdown: tables, and the parts of a page that are generated."""

import re
from collections.abc import Mapping, Sequence


def as_table(lines: Sequence[Sequence[str]]) -> str:
    """Lay lines of cells out in Markdown, the first as the head."""
    head, *rows = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def interval_text(value: float, low: float, high: float) -> str:
    """Write an estimate and its interval."""
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def with_section(page: str, name: str, text: str) -> str:
    """Put `text` between a page's `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: if the page does not have these two lines once each.
    """
    begin, end = _marks(name)
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the page must hold {begin.strip()} and {end.strip()} once each")
    pattern = re.escape(begin) + ".*" + re.escape(end)
    return re.sub(pattern, lambda _: f"{begin}{text}\n{end}", page, flags=re.DOTALL)


def with_sections(page: str, texts: Mapping[str, str]) -> str:
    """Put those of the texts, by name, in their places that the page has a place for."""
    for name, text in texts.items():
        if _marks(name)[0] in page:
            page = with_section(page, name, text)
    return page


def _marks(name: str) -> tuple[str, str]:
    """Return the lines between which a page has a generated part."""
    return f"<!-- {name} -->\n", f"<!-- /{name} -->\n"


def with_table(text: str, table: str) -> str:
    """Put a table in the place of the one that a page has."""
    lines = text.splitlines()
    (start,) = [i for i, line in enumerate(lines) if line.startswith("| teacher |")]
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    return "\n".join([*lines[:start], table, *lines[end:]]) + "\n"
