"""Drawings of chapter 8: the three paths by which noise reaches a circuit."""

from dataclasses import dataclass

from IPython.display import HTML

from cisp_book.svg import FIRST, INK, SECOND, arrow, circle, line, row, text

COLORS = {"t": FIRST, "u": INK, "v": SECOND}
WIDTH, HEIGHT = 240, 206  # px, of one panel
ABOVE, MIDDLE, BELOW = 66, 120, 174  # heights of layer l, the circuits, layer l - 1
RING, ROUND = 6, 12  # radii of a position and of a circuit
SLANTED = 'font-style="italic"'


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
    pictures = ((f"{p.title}: {p.says}", _drawing(p)) for p in PANELS)
    return row(pictures, width=WIDTH, height=HEIGHT)


def _drawing(panel: Panel) -> list[str]:
    at = {t: (_x(column), MIDDLE) for t, column in panel.circuits.items()}
    parts = [
        text(0, 16, panel.title, anchor="start", look='font-weight="bold"'),
        text(202, ABOVE + 5, "l", anchor="start", look=SLANTED),
        text(202, BELOW + 5, "l − 1", anchor="start", look=SLANTED),
    ]
    for y, rows in ((ABOVE, panel.above), (BELOW, panel.below)):
        parts += [
            line(*at[t], _x(p), y, color=COLORS[t], gap=(ROUND, RING), width=1, opacity=0.45)
            for t in at
            for p in rows[t]
        ]
    for signal, start, through, end in panel.path:
        color, dash = COLORS[signal], "7 4" if _detour(panel, through) else ""
        x, y = at[through]
        into, out = (RING, ROUND), (ROUND, RING + 1)
        parts += [
            line(_x(start), BELOW, x, y, color=color, gap=into, dash=dash, width=3),
            arrow(x, y, _x(end), ABOVE, color=color, gap=out, dash=dash, width=3, head=11),
        ]
    for y, rows in ((ABOVE, panel.above), (BELOW, panel.below)):
        parts += [_position(p, y, rows, full=y == BELOW) for p in range(6)]
    for t, place in at.items():
        parts.append(circle(*place, r=ROUND, edge=COLORS[t], fill=COLORS[t], tint=0.15))
        parts.append(text(place[0], MIDDLE + 5, t, look=SLANTED))
    parts += [text(_x(p), ABOVE - 14, "t", look=SLANTED) for p in panel.above["t"]]
    for t in "tv":
        parts += [text(_x(p), BELOW + 25, t, look=SLANTED) for p in panel.below.get(t, ())]
    if panel.error is not None:
        parts.append(circle(_x(panel.error), BELOW, r=RING + 4, edge=INK))
        parts.append(text(_x(panel.error) + 10, BELOW + 25, "error", anchor="start"))
    return parts


def _detour(panel: Panel, through: str) -> bool:
    """Whether this stretch goes through an inactive circuit where another goes directly."""
    return len(panel.path) > 1 and through == "u"


def _x(column: int) -> int:
    return 14 + 34 * column


def _position(p: int, y: int, rows: dict[str, tuple[int, ...]], *, full: bool) -> str:
    """A ring of its circuit's colour, faint where nobody is; full where an active circuit sends."""
    owner = next((t for t in "tvu" if p in rows.get(t, ())), "")
    color = COLORS[owner or "u"]
    fill = color if full and owner in ("t", "v") else "none"
    return circle(_x(p), y, r=RING, edge=color, fill=fill, opacity=1 if owner else 0.4)
