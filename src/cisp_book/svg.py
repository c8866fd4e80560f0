"""SVG in the page's own colours: lines, arrows, dots and words, and the picture they make."""

from collections.abc import Iterable
from html import escape

import numpy as np
from IPython.display import HTML

INK, FIRST, SECOND = "currentColor", "#0072B2", "#D55E00"  # lines and words; two circuits


def drawing(parts: Iterable[str], *, width: int, height: int, says: str, wide: int = 460) -> HTML:
    """The parts in one picture as wide as the page, `wide` pixels at most; `says` describes it."""
    return HTML(
        f'<svg class="drawing" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(says)}" font-size="14" fill="{INK}" '
        f'style="width:100%;max-width:{wide}px;height:auto">{"".join(parts)}</svg>'
    )


def panels(pictures: Iterable[tuple[str, Iterable[str]]], *, size: int, says: str) -> HTML:
    """Named square pictures in one row, in two on a phone; `says` describes them together."""
    each = "".join(
        f'<svg viewBox="0 0 {size} {size + 24}" font-size="14" fill="{INK}" '
        f'style="flex:1 1 {size}px;max-width:220px;height:auto">{"".join(parts)}'
        f"{text(size / 2, size + 18, name)}</svg>"
        for name, parts in pictures
    )
    style = "display:flex;flex-wrap:wrap;gap:12px"
    return HTML(
        f'<div class="drawing" role="img" aria-label="{escape(says)}" style="{style}">{each}</div>'
    )


def row(pictures: Iterable[tuple[str, Iterable[str]]], *, width: int, height: int) -> HTML:
    """Pictures of one size, each with its own words, side by side as far as there is room."""
    each = "".join(
        f'<svg role="img" aria-label="{escape(says)}" viewBox="0 0 {width} {height}" '
        f'font-size="14" fill="{INK}" style="width:100%;max-width:{width}px">{"".join(parts)}</svg>'
        for says, parts in pictures
    )
    style = "display:flex;flex-wrap:wrap;gap:1.5rem"
    return HTML(f'<div class="drawing" style="{style}">{each}</div>')


def line(
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    *,
    color: str = INK,
    gap: float | tuple[float, float] = 0,
    dash: str = "",
    width: float = 1.3,
    opacity: float = 1,
) -> str:
    """A line, `gap` short of either end, or of its start and its end."""
    before, after = gap if isinstance(gap, tuple) else (gap, gap)
    along = np.array([x1 - x0, y1 - y0]) / max(np.hypot(x1 - x0, y1 - y0), 1e-9)
    (a, b), (c, d) = np.array([x0, y0]) + before * along, np.array([x1, y1]) - after * along
    look = f' stroke-dasharray="{dash}"' if dash else ""
    look += f' opacity="{opacity}"' if opacity < 1 else ""
    ends = f'x1="{rounded(a)}" y1="{rounded(b)}" x2="{rounded(c)}" y2="{rounded(d)}"'
    return f'<line {ends} stroke="{color}" stroke-width="{width:g}"{look}/>'


def arrow(
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    *,
    color: str = INK,
    gap: tuple[float, float] = (0, 0),
    dash: str = "",
    width: float = 1.3,
    head: float = 8,
) -> str:
    """A line with a head of that length at its end."""
    along = np.array([x1 - x0, y1 - y0]) / np.hypot(x1 - x0, y1 - y0)
    tip = np.array([x1, y1]) - gap[1] * along
    foot, across = tip - head * along, head / 2 * np.array([-along[1], along[0]])
    corners = " ".join(f"{rounded(x)},{rounded(y)}" for x, y in (tip, foot + across, foot - across))
    fill = "" if color == INK else f' fill="{color}"'
    shaft = line(x0, y0, x1, y1, color=color, gap=(gap[0], gap[1] + head), dash=dash, width=width)
    return f'{shaft}<polygon points="{corners}"{fill}/>'


def circle(
    x: float,
    y: float,
    *,
    r: float,
    edge: str,
    fill: str = "none",
    tint: float = 1,
    opacity: float = 1,
) -> str:
    """A ring, filled in a colour or a tint of it."""
    look = f' fill-opacity="{tint}"' if tint < 1 else ""
    look += f' opacity="{opacity}"' if opacity < 1 else ""
    place = f'cx="{rounded(x)}" cy="{rounded(y)}" r="{rounded(r)}"'
    return f'<circle {place} fill="{fill}" stroke="{edge}" stroke-width="1.3"{look}/>'


def dot(x: float, y: float, *colors: str, r: float = 7) -> str:
    """A circle: empty without a colour, halves of two."""
    if len(colors) == 2:
        half = f"M{rounded(x)} {rounded(y - r)}A{rounded(r)} {rounded(r)} 0 0 "
        left, right = (
            f'<path d="{half}{k} {rounded(x)} {rounded(y + r)}z" fill="{colors[k]}"/>'
            for k in (0, 1)
        )
        return left + right
    return circle(x, y, r=r, edge=(*colors, INK)[0], fill=(*colors, "none")[0])


def dots(places: Iterable[tuple[float, float]], color: str, *, r: float) -> str:
    """Many filled circles of one colour, as one path."""
    path = "".join(f"M{rounded(x)} {rounded(y)}h0" for x, y in places)
    return f'<path d="{path}" stroke="{color}" stroke-width="{2 * r:g}" stroke-linecap="round"/>'


def text(x: float, y: float, words: str, *, anchor: str = "middle", look: str = "") -> str:
    """Words whose base line is at y; `look`: further attributes, such as slanted."""
    place = f'x="{rounded(x)}" y="{rounded(y)}" text-anchor="{anchor}"'
    return f"<text {' '.join(filter(None, [place, look]))}>{escape(words)}</text>"


def rounded(v: float) -> float:
    """Rounded, so that every machine draws the same."""
    return round(float(v), 1)
