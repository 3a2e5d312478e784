"""Parts of an HTML page or a notebook's output: escaped text, no scripts, legible on light and dark
backgrounds. Knows nothing of tuning; runs anywhere.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from glimr_keras._utils.text import Column, plain

ACCENT = "#2490e0"
"""The color of bars and lines, distinct from grey and from a white or black background."""
_CLASS = "glimr-keras"
_STYLE = """<style>
.X.X {font-variant-numeric: tabular-nums; line-height: 1.4}
.X.X table {border-collapse: collapse; border: none; margin: .3em 0; font-size: 90%;
  color: inherit}
.X.X th, .X.X td {padding: .15em .7em; text-align: left; white-space: nowrap; border: none}
.X.X th {font-weight: 600; border-bottom: 1px solid rgba(128,128,128,.6); white-space: normal;
  vertical-align: bottom}
.X.X th.n, .X.X td.n {text-align: right}
.X.X p {margin: .2em 0}
.X.X .quiet {opacity: .75}
.X.X .wide {overflow-x: auto}
.X.X pre {color: inherit; background: none; margin: .2em 0; padding: 0 0 0 1em;
  white-space: pre-wrap}
</style>""".replace("X", _CLASS)


def escaped(text: object) -> str:
    """Escape a text for HTML."""
    return html.escape(plain(str(text)))


def block(*parts: str) -> str:
    """Return HTML parts as one output, with the style they need."""
    return f'<div class="{_CLASS}">{_STYLE}{"".join(filter(None, parts))}</div>'


def title(text: str, *others: str) -> str:
    """Return a heading: bold text, followed by other texts in the same line."""
    said = "".join(f' <span class="quiet">· {escaped(other)}</span>' for other in others if other)
    return f"<p><b>{escaped(text)}</b>{said}</p>"


def paragraph(text: str) -> str:
    """Return a paragraph of muted text."""
    return f'<p class="quiet">{escaped(text)}</p>'


def table(columns: Sequence[Column]) -> str:
    """Return a table with one line per row; a table that is too wide scrolls."""
    if not columns:
        return ""
    heads = "".join(_cell("th", _breakable(column.name), column) for column in columns)
    rows = (
        "".join(
            _cell("td", escaped(cell), column) for cell, column in zip(cells, columns, strict=True)
        )
        for cells in zip(*(column.cells for column in columns), strict=True)
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def bar(share: float | None) -> str:
    """Return a bar filled to a share from 0 to 1; `None` leaves it empty."""
    filled = 100 * min(max(share or 0.0, 0.0), 1.0)
    return (
        '<div style="width:100%;max-width:32em;height:.5em;border-radius:.25em;margin:.3em 0;'
        'background:rgba(128,128,128,.3)"><div style="height:100%;border-radius:.25em;'
        f'width:{filled:.1f}%;background:{ACCENT}"></div></div>'
    )


def listed(lines: Iterable[str]) -> str:
    """Return texts below each other, each preformatted."""
    return "".join(f"<pre>{escaped(line)}</pre>" for line in lines)


def _cell(tag: str, inner: str, column: Column) -> str:
    kind = ' class="n"' if column.is_number else ""
    return f"<{tag}{kind}>{inner}</{tag}>"


def _breakable(name: str) -> str:
    """Return a name that may wrap after a slash or an underscore."""
    return re.sub(r"(?<=[/_])(?=[^/_])", "<wbr>", escaped(name))
