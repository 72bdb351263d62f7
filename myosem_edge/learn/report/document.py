"""What a page says, once: written as Markdown for the repository, or as one HTML file that opens without a network.

Pictures are drawn for HTML alone and lie inside the file.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from myosem_edge import __version__

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 2rem auto; max-width: 76rem;
       padding: 0 1.2rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1.05rem; margin-top: 1.6rem; }
.scroll { overflow-x: auto; margin: .6rem 0 1.4rem; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .65rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
th { background: #f2f4f6; border-bottom: 2px solid #9aa5b1; }
tbody tr:hover { background: #f7f9fb; }
.figures { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
figure { margin: .6rem 0; max-width: 100%; } figure img { max-width: 100%; height: auto; border: 1px solid #e3e3e3; }
figcaption { font-size: 13px; color: #444; max-width: 46rem; }
.warning { border-left: 4px solid #b3261e; background: #fdecea; padding: .5rem .8rem; font-weight: 600; }
footer { margin-top: 3rem; font-size: 12px; color: #666; border-top: 1px solid #ccc; padding-top: .5rem; }
"""
DPI = 2.0  # picture pixels per pixel of the page: sharp on a dense screen


@dataclass(frozen=True)
class Heading:
    """Level 1 is the page's."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; `lead` stands in bold before it. A `warning` is bold as a whole, and boxed."""

    text: str
    lead: str = ""
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """Cells are plain text."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """`draw` makes the PNG and says its width in pixels; `alt` says in words what is on it."""

    draw: Callable[[], tuple[bytes, int]]
    alt: str
    caption: str


Block = Heading | Text | Table | Picture


def markdown(blocks: Sequence[Block]) -> str:
    """The page without its pictures."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"{'#' * block.level} {block.text}")
        elif isinstance(block, Text):
            parts.append(f"**{block.text}**" if block.warning else f"{_lead(block.lead)}{block.text}")
        elif isinstance(block, Table):
            lines = [_row(block.header), "|---" * len(block.header) + "|", *map(_row, block.rows)]
            parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def html(title: str, blocks: Sequence[Block]) -> str:
    """The page with everything it needs inside: no script, nothing fetched."""
    parts: list[str] = []
    figures: list[str] = []
    for block in [*blocks, None]:
        if isinstance(block, Picture):
            figures.append(_figure(block))
            continue
        if figures:  # pictures that follow each other stand side by side where there is room
            parts.append(f'<div class="figures">{"".join(figures)}</div>')
            figures = []
        if isinstance(block, Heading):
            parts.append(f"<h{block.level}>{escape(block.text)}</h{block.level}>")
        elif isinstance(block, Text):
            lead = f"<b>{escape(block.lead)}</b>, " if block.lead else ""
            kind = ' class="warning"' if block.warning else ""
            parts.append(f"<p{kind}>{lead}{escape(block.text)}</p>")
        elif isinstance(block, Table):
            head = "".join(f"<th>{escape(cell)}</th>" for cell in block.header)
            rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in block.rows)
            table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table>"
            parts.append(f'<div class="scroll">{table}</div>')
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style></head>\n'
        f"<body>\n{body}\n<footer>Made by myosem-edge {escape(__version__)}. Not a medical device.</footer>\n"
        "</body></html>\n"
    )


def _figure(picture: Picture) -> str:
    png, width = picture.draw()
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    image = f'<img src="{source}" width="{round(width / DPI)}" alt="{escape(picture.alt)}">'
    return f"<figure>{image}<figcaption>{escape(picture.caption)}</figcaption></figure>"


def _lead(lead: str) -> str:
    return f"**{lead}**, " if lead else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
