"""The HTML page of a report: its style for screen and print, and its only script, which sorts
tables. Independent of tuning; runs anywhere.

The page loads nothing from elsewhere, and tells the browser to run only this script.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence

from glimr_keras._utils import html
from glimr_keras._utils.html import escaped
from glimr_keras._utils.text import Column

_STYLE = """
:root { --ink: #1c2430; --quiet: #5b6675; --line: #dde2e8; --soft: #f5f7f9; --accent: #0072b2;
  --bad: #b3402a; color-scheme: light }
* { box-sizing: border-box }
body { margin: 0; background: #fff; color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
main { max-width: 1120px; margin: 0 auto; padding: 36px 28px 60px }
h1 { font-size: 30px; line-height: 1.2; margin: 0; letter-spacing: -.01em;
  overflow-wrap: anywhere }
h2 { font-size: 20px; margin: 44px 0 12px; padding-bottom: 6px;
  border-bottom: 2px solid var(--line) }
h3 { font-size: 15px; margin: 22px 0 6px }
p { margin: 6px 0 }
.quiet { color: var(--quiet) }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 12px;
  margin-top: 22px }
.tile { background: var(--soft); border-radius: 8px; padding: 12px 16px }
.tile b { display: block; font-size: 24px; line-height: 1.3; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere }
.tile.first { background: #e6f1f8 } .tile.first b { color: var(--accent) }
.tile span { color: var(--quiet); font-size: 13px }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 8px 0 }
dt { color: var(--quiet) } dd { margin: 0; overflow-wrap: anywhere }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px }
table { border-collapse: collapse; width: 100%; font-size: 13px;
  font-variant-numeric: tabular-nums }
th, td { padding: 5px 10px; text-align: left; white-space: nowrap; vertical-align: top }
th { background: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal }
th.n, td.n { text-align: right }
tbody tr + tr td { border-top: 1px solid var(--line) }
tbody tr:hover td { background: #fafbfc }
.sorted th { cursor: pointer } .sorted th:hover { color: var(--accent) }
.sorted th[data-way="up"]::after { content: " \\2191" }
.sorted th[data-way="down"]::after { content: " \\2193" }
.sorted .wide { max-height: 75vh; overflow: auto } .sorted thead th { position: sticky; top: 0 }
.choices { display: flex; flex-wrap: wrap; gap: 8px; margin: 10px 0 14px; padding: 0 }
.choices li { list-style: none; border: 1px solid var(--line); border-radius: 8px;
  padding: 4px 12px; max-width: 100%; overflow-wrap: anywhere }
.choices span { color: var(--quiet); margin-right: 8px }
figure { margin: 18px 0 26px }
figure img { display: block; width: 100%; max-width: 940px; height: auto; margin: 0 auto }
figcaption { color: var(--quiet); font-size: 13px; max-width: 940px; margin: 4px auto 0 }
.failure { border-left: 3px solid var(--bad); padding: 2px 0 2px 14px; margin: 14px 0 }
.failure code { font: 13px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: anywhere; white-space: pre-wrap }
pre { font: 12px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; margin: 6px 0;
  background: var(--soft); border-radius: 6px; padding: 10px 12px; white-space: pre-wrap;
  overflow-wrap: anywhere }
summary { cursor: pointer; color: var(--quiet); font-size: 13px }
@media (max-width: 760px) { main { padding: 22px 16px 40px } h1 { font-size: 25px }
  dl { grid-template-columns: 1fr } dt { margin-top: 6px } }
@media print {
  @page { size: A4; margin: 14mm 12mm }
  body { font-size: 10pt } main { max-width: none; padding: 0 }
  h2 { margin-top: 22px; break-after: avoid } h3 { break-after: avoid }
  .tiles { grid-template-columns: repeat(4, 1fr) } .tile { padding: 8px 10px }
  .tile b { font-size: 15pt }
  .wide, .sorted .wide { overflow: visible; max-height: none; border: none; border-radius: 0 }
  table { font-size: clamp(4pt, calc(265mm / var(--letters, 100)), 8pt) }
  thead { display: table-header-group }
  .sorted thead th { position: static }
  th, td { padding: .25em .6em; white-space: normal; overflow-wrap: break-word }
  th { overflow-wrap: normal } td.n, td:first-child { white-space: nowrap }
  tr, figure, .tile, .failure { break-inside: avoid }
  th, .tile { print-color-adjust: exact; -webkit-print-color-adjust: exact }
  details:not([open]) { display: none } .screen { display: none }
}
"""
_SCRIPT = """
for (const table of document.querySelectorAll(".sorted table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const valueOf = (row, place, isNumber) => {
    const text = row.cells[place].textContent;
    return isNumber ? (isNaN(parseFloat(text)) ? null : parseFloat(text)) : text;
  };
  heads.forEach((head, place) => head.addEventListener("click", () => {
    const isNumber = head.className === "n", way = head.dataset.way === "up" ? -1 : 1;
    const compare = (one, other) => {
      const [a, b] = [valueOf(one, place, isNumber), valueOf(other, place, isNumber)];
      if (a === null || b === null) return (a === null) - (b === null);
      return way * (isNumber ? a - b : a.localeCompare(b, undefined, {numeric: true}));
    };
    body.append(...[...body.rows].sort(compare));
    heads.forEach(other => delete other.dataset.way);
    head.dataset.way = way === 1 ? "up" : "down";
  }));
}
"""


def page(title: str, sections: Iterable[str]) -> str:
    """Return a whole page.

    Args:
        title: The title of the window.
        sections: HTML in which all text is escaped; empty sections are left out.
    """
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    body = "\n".join(filter(None, sections))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Return a section of the page with its heading; empty if it has no content."""
    inner = "\n".join(filter(None, parts))
    return f"<section>\n<h2>{escaped(title)}</h2>\n{inner}\n</section>" if inner else ""


def tile(number: str, said: str, is_first: bool = False) -> str:
    """Return a tile for a key figure: a short value with a description below it."""
    kind = "tile first" if is_first else "tile"
    return f'<div class="{kind}"><b>{escaped(number)}</b><span>{escaped(said)}</span></div>'


def table(columns: Sequence[Column]) -> str:
    """Return a table that is scaled to fit the page in print."""
    words = ((*column.cells, *re.findall("[^/_ ]+[/_ ]?", column.name)) for column in columns)
    letters = sum(2 + max(map(len, each), default=0) for each in words)
    return f'<div style="--letters:{letters}">{html.table(columns)}</div>'


def described(rows: Iterable[tuple[str, str]]) -> str:
    """Return pairs of names and descriptions; pairs without a description are left out."""
    known = [(name, said) for name, said in rows if said]
    inner = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(said)}</dd>" for name, said in known)
    return f"<dl>{inner}</dl>" if known else ""
