"""Drawings of chapter 8: the three paths by which noise reaches a circuit."""

from dataclasses import dataclass
from math import hypot

from IPython.display import HTML

COLORS = {"t": "#0072B2", "u": "currentColor", "v": "#D55E00"}
WIDTH, HEIGHT = 240, 206  # px, of one panel
ABOVE, MIDDLE, BELOW = 66, 120, 174  # heights of layer l, the circuits, layer l - 1
RING, ROUND = 6, 12  # radii of a position and of a circuit


@dataclass(frozen=True)
class Panel:
    """One path: circuits at their columns, their positions in two layers, what is drawn bold.

    A stretch of the path is (whose signal, from position, through circuit, to position).
    """

    title: str
    says: str
    circuits: dict[str, int]
    below: dict[str, tuple[int, ...]]
    above: dict[str, tuple[int, ...]]
    path: tuple[tuple[str, int, str, int], ...]
    error: int | None = None  # the position of t whose content is wrong


PANELS = (
    Panel(
        "self",
        "The signal of circuit t, on a position that it shares with an inactive neighbour u in "
        "layer l − 1, goes through u to a position that both share in layer l, where t reads it.",
        {"t": 1, "u": 4},
        {"t": (0, 2), "u": (2, 5)},
        {"t": (1, 3), "u": (3, 4)},
        (("t", 2, "u", 3),),
    ),
    Panel(
        "others",
        "The signal of another active circuit v reaches t in layer l in two ways: through v "
        "itself, where t and v share a position (full line), and through an inactive circuit u "
        "that shares a position with v in layer l − 1 and one with t in layer l (broken line).",
        {"u": 2, "v": 5},
        {"u": (1, 3), "v": (3, 5)},
        {"t": (0, 3), "u": (0, 2), "v": (3, 5)},
        (("v", 5, "v", 3), ("v", 3, "u", 0)),
    ),
    Panel(
        "previous",
        "An error on a position of t in layer l − 1, marked by a second ring, goes through t "
        "itself, as its signal does, to the positions of t in layer l.",
        {"t": 2},
        {"t": (1, 3)},
        {"t": (2, 4)},
        (("t", 3, "t", 2), ("t", 3, "t", 4)),
        error=3,
    ),
)


def paths() -> HTML:
    """Self, others and previous, a drawing each: side by side, on a phone one below the other."""
    drawings = "\n".join(map(_drawing, PANELS))
    side_by_side = 'class="drawing" style="display:flex;flex-wrap:wrap;gap:1.5rem"'
    return HTML(f"<div {side_by_side}>\n{drawings}\n</div>")


def _drawing(panel: Panel) -> str:
    lines = [
        _line(panel.circuits[t], p, y, COLORS[t], 'stroke-width="1" opacity="0.45"')
        for y, row in ((ABOVE, panel.above), (BELOW, panel.below))
        for t in panel.circuits
        for p in row[t]
    ]
    parts = [
        _text(0, 16, panel.title, 'font-weight="bold"'),
        _text(202, ABOVE + 5, "l", 'font-style="italic"'),
        _text(202, BELOW + 5, '<tspan font-style="italic">l</tspan> − 1'),
        *lines,
        *(_stretch(panel, *stretch) for stretch in panel.path),
        *(_position(p, ABOVE, panel.above, full=False) for p in range(6)),
        *(_position(p, BELOW, panel.below, full=True) for p in range(6)),
        *(_circuit(t, column) for t, column in panel.circuits.items()),
        *(_letter(_x(p), ABOVE - 14, "t") for p in panel.above["t"]),
        *(_letter(_x(p), BELOW + 25, t) for t in "tv" for p in panel.below.get(t, ())),
    ]
    if panel.error is not None:
        x, look = _x(panel.error), 'fill="none" stroke="currentColor" stroke-width="1.5"'
        parts.append(f'<circle cx="{x}" cy="{BELOW}" r="{RING + 4}" {look}/>')
        parts.append(_text(x + 10, BELOW + 25, "error"))
    style = f"width:100%;max-width:{WIDTH}px;font-size:14px"
    head = f'<svg role="img" aria-label="{panel.title}: {panel.says}" style="{style}"'
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" fill="currentColor"'
    return "\n".join([f"{head} {box}>", *parts, "</svg>"])


def _x(column: int) -> int:
    return 14 + 34 * column


def _position(p: int, y: int, rows: dict[str, tuple[int, ...]], *, full: bool) -> str:
    """A ring of its circuit's colour, faint where nobody is; full where an active circuit sends."""
    owner = next((t for t in "tvu" if p in rows.get(t, ())), "")
    color = COLORS[owner or "u"]
    fill = color if full and owner in ("t", "v") else "none"
    look = f'fill="{fill}" stroke="{color}" stroke-width="1.5" opacity="{1 if owner else 0.4}"'
    return f'<circle cx="{_x(p)}" cy="{y}" r="{RING}" {look}/>'


def _circuit(t: str, column: int) -> str:
    """A circuit between the layers, with its letter."""
    look = f'fill="{COLORS[t]}" fill-opacity="0.15" stroke="{COLORS[t]}" stroke-width="1.5"'
    ring = f'<circle cx="{_x(column)}" cy="{MIDDLE}" r="{ROUND}" {look}/>'
    return f"{ring}\n{_letter(_x(column), MIDDLE + 5, t)}"


def _stretch(panel: Panel, signal: str, start: int, through: str, end: int) -> str:
    """Up from a position into a circuit, and on to a position; broken through an inactive one."""
    column, color = panel.circuits[through], COLORS[signal]
    broken = ' stroke-dasharray="7 4"' if len(panel.path) > 1 and through == "u" else ""
    look = f'stroke-width="3"{broken}'
    into = _line(column, start, BELOW, color, look)
    out = _line(column, end, ABOVE, color, look, free=RING + 10)
    return f"{into}\n{out}\n{_head(_x(end), ABOVE, _x(column), MIDDLE, color)}"


def _line(column: int, p: int, y: int, color: str, look: str, free: int = RING) -> str:
    """A line from the round of a circuit to a position, from whose middle it keeps `free` px."""
    a = _along(_x(column), MIDDLE, _x(p), y, ROUND)
    b = _along(_x(p), y, _x(column), MIDDLE, free)
    ends = f'x1="{a[0]}" y1="{a[1]}" x2="{b[0]}" y2="{b[1]}"'
    return f'<line {ends} stroke="{color}" {look}/>'


def _head(x: int, y: int, from_x: int, from_y: int, color: str) -> str:
    """An arrow's head that points at a position, from where its line comes."""
    tip, back = (_along(x, y, from_x, from_y, RING + k) for k in (1, 12))
    right, down = back[0] - tip[0], back[1] - tip[1]
    corners = [tip, *((back[0] - s * down / 2, back[1] + s * right / 2) for s in (1, -1))]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    return f'<polygon points="{points}" fill="{color}"/>'


def _along(x: int, y: int, to_x: int, to_y: int, far: int) -> tuple[float, float]:
    """The point `far` px from one point towards another."""
    share = far / hypot(to_x - x, to_y - y)
    return round(x + (to_x - x) * share, 1), round(y + (to_y - y) * share, 1)


def _letter(x: int, y: int, letter: str) -> str:
    return _text(x, y, letter, 'font-style="italic" text-anchor="middle"')


def _text(x: int, y: int, words: str, look: str = "") -> str:
    return f'<text x="{x}" y="{y}" {look}>{words}</text>'
