"""Elements of a page that needs nothing but itself: no script, no font, no picture from anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c232b; --dim: #56606c; --back: #ffffff; --panel: #f3f5f8; --line: #d4dae1;
  --plain: #eef2ea; --warn-ink: #5a3c00; --warn: #fff0cc; --good: #00694d; --bad: #a33b00; --accent: #0a5c96; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebef; --dim: #a3adb9; --back: #0c0f13; --panel: #14181e;
  --line: #39424e; --plain: #1b231c; --warn-ink: #f0d9a8; --warn: #33290f; --good: #63c9a6; --bad: #f0996b;
  --accent: #8fb8e8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 0 20px 60px; max-width: 1180px; background: var(--back); color: var(--ink);
  font: 15px/1.5 "DejaVu Sans", "Segoe UI", Helvetica, Arial, sans-serif; }
.banner { margin: 0 -20px 24px; padding: 10px 20px; background: var(--warn); color: var(--warn-ink);
  font-weight: 600; position: sticky; top: 0; z-index: 1; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 8px; } h2 { font-size: 20px; margin: 44px 0 8px;
  padding-top: 10px; border-top: 2px solid var(--line); } h3 { font-size: 16px; margin: 24px 0 6px; }
p, ul { margin: 6px 0 12px; max-width: 900px; } .dim, figcaption, caption { color: var(--dim); font-size: 13px; }
nav { font-size: 14px; margin: 14px 0; display: flex; flex-wrap: wrap; gap: 2px 16px; } a { color: var(--accent); }
.scroll { overflow-x: auto; margin: 10px 0 18px; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0 0 6px; } th, td { padding: 4px 9px; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); } thead th { background: var(--panel); border-bottom: 2px solid var(--line);
  vertical-align: bottom; } th.group { background: var(--panel); padding-top: 10px; }
td.n, th.n { text-align: right; }
  td.n, td b, .name small { white-space: nowrap; } td small { color: var(--dim); font-size: 11px; display: block; }
tr.plain > * { background: var(--plain); } .wide { min-width: 260px; }
section { scroll-margin-top: 50px; }
.tag { display: inline-block; font-size: 11px; padding: 0 6px; border: 1px solid var(--dim); border-radius: 8px;
  color: var(--dim); white-space: nowrap; } .tag.set { border-color: var(--bad); color: var(--bad); }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
figure { margin: 14px 0 26px; } figure svg { max-width: 100%; height: auto; display: block; color: var(--ink); }
.stamp { color: var(--warn-ink); background: var(--warn); padding: 1px 8px; font-size: 12px; font-weight: 600;
  display: inline-block; margin-bottom: 4px; }
.key td:first-child { white-space: nowrap; font-weight: 600; }
@media print { body { max-width: none; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; }
  nav { display: none; } }
""".strip()


class Html(str):
    """Text that is markup already; any other text is escaped where it enters an element."""

    __slots__ = ()


def text(value: object) -> Html:
    """Escaped, unless it is markup."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, *content: object, **attributes: str) -> Html:
    """An element; `class_` stands for `class`."""
    said = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items() if value)
    return Html(f"<{name}{said}>{''.join(text(item) for item in content)}</{name}>")


def joined(*parts: object) -> Html:
    """One after the other."""
    return Html("".join(text(part) for part in parts))


def paragraph(*content: object, class_: str = "") -> Html:
    """A paragraph."""
    return tag("p", *content, class_=class_)


def bullets(items: Iterable[object]) -> Html:
    """A list; nothing for none."""
    own = [tag("li", item) for item in items]
    return tag("ul", *own) if own else Html("")


def cell(*content: object, number: bool = False, small: str = "", span: int = 0, class_: str = "") -> Html:
    """A cell of a table.

    Args:
        content: Of the cell.
        number: Right-aligned, on one line.
        small: A line below it.
        span: Columns, if more than one.
        class_: Further classes.
    """
    below = (tag("small", small),) if small else ()
    return tag("td", *content, *below, class_=f"{'n ' if number else ''}{class_}".strip(), colspan=str(span or ""))


def table(head: Sequence[str], bodies: Iterable[Html], *, caption: str = "", numbers: int | None = None) -> Html:
    """A table that scrolls where it is too wide.

    Args:
        head: Titles of the columns.
        bodies: Rows, or bodies of rows.
        caption: What it shows.
        numbers: From which column on titles stand on the right; None: nowhere.
    """
    titles = (
        tag("th", title, scope="col", class_="n" if numbers is not None and i >= numbers else "")
        for i, title in enumerate(head)
    )
    said = (tag("caption", caption),) if caption else ()
    return tag("div", tag("table", *said, tag("thead", tag("tr", *titles)), *bodies), class_="scroll")


def key_table(pairs: Iterable[tuple[str, object]]) -> Html:
    """Names and what they are."""
    rows = (tag("tr", cell(name), cell(value)) for name, value in pairs)
    return tag("div", tag("table", tag("tbody", *rows), class_="key"), class_="scroll")


def drawing(svg: Html, caption: object, *, stamp: str = "") -> Html:
    """A picture with what it shows, and beside it what its data are where that must not be missed."""
    above = (tag("div", stamp, class_="stamp"),) if stamp else ()
    return tag("figure", *above, svg, tag("figcaption", caption))


def page(title: str, banner: str, body: Html) -> str:
    """The whole document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{tag('title', title)}\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        f"{tag('div', banner, class_='banner', role='note')}\n{body}\n</body>\n</html>\n"
    )
