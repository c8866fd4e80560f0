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


def line(
    x0: float, y0: float, x1: float, y1: float, *, color: str = INK, gap: float = 0, dash: str = ""
) -> str:
    """A thin line, `gap` short of either end."""
    dx, dy = gap * np.array([x1 - x0, y1 - y0]) / max(np.hypot(x1 - x0, y1 - y0), 1e-9)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    start, end = (rounded(x0 + dx), rounded(y0 + dy)), (rounded(x1 - dx), rounded(y1 - dy))
    ends = f'x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}"'
    return f'<line {ends} stroke="{color}" stroke-width="1.3"{dashed}/>'


def arrow(x0: float, y0: float, x1: float, y1: float) -> str:
    """A line with a head at its end."""
    along = np.array([x1 - x0, y1 - y0]) / np.hypot(x1 - x0, y1 - y0)
    foot, across = np.array([x1, y1]) - 8 * along, 4 * np.array([-along[1], along[0]])
    head = " ".join(
        f"{rounded(x)},{rounded(y)}" for x, y in ((x1, y1), foot + across, foot - across)
    )
    return line(x0, y0, *foot) + f'<polygon points="{head}"/>'


def dot(x: float, y: float, *colors: str, r: float = 7) -> str:
    """A circle: empty without a colour, halves of two."""
    if len(colors) == 2:
        half = f"M{rounded(x)} {rounded(y - r)}A{rounded(r)} {rounded(r)} 0 0 "
        left, right = (
            f'<path d="{half}{k} {rounded(x)} {rounded(y + r)}z" fill="{colors[k]}"/>'
            for k in (0, 1)
        )
        return left + right
    fill = colors[0] if colors else "none"
    edge = colors[0] if colors else INK
    place = f'cx="{rounded(x)}" cy="{rounded(y)}" r="{rounded(r)}"'
    return f'<circle {place} fill="{fill}" stroke="{edge}" stroke-width="1.3"/>'


def dots(places: Iterable[tuple[float, float]], color: str, *, r: float) -> str:
    """Many filled circles of one colour, as one path."""
    path = "".join(f"M{rounded(x)} {rounded(y)}h0" for x, y in places)
    return f'<path d="{path}" stroke="{color}" stroke-width="{2 * r:g}" stroke-linecap="round"/>'


def text(x: float, y: float, words: str, *, anchor: str = "middle") -> str:
    """Words whose base line is at y."""
    place = f'x="{rounded(x)}" y="{rounded(y)}" text-anchor="{anchor}"'
    return f"<text {place}>{escape(words)}</text>"


def rounded(v: float) -> float:
    """Rounded, so that every machine draws the same."""
    return round(float(v), 1)
