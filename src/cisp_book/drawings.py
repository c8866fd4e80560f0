"""Drawings of small real cases, one function each: numbers in, a picture out."""

from collections.abc import Sequence

import numpy as np
from IPython.display import HTML
from jaxtyping import Float, Int

import cisp
from cisp.allocation import Table
from cisp_book.networks import rotation_network
from cisp_book.strip import strip as strip
from cisp_book.svg import FIRST, INK, SECOND, arrow, dot, drawing, line, rounded, text

SUBSCRIPTS = "₀₁₂₃"


def circuit(w: Float[np.ndarray, "4 4"], b: Float[np.ndarray, " 4"]) -> HTML:
    """One layer of the rotation circuit, its edges as in (3.1) and (3.3), and its gate."""
    x, y = (92, 262), (46, 110, 182, 240)
    parts = [text(x[0], 18, "layer l − 1"), text(x[1], 18, "layer l"), text(330, 18, "bias")]
    for k, name in enumerate(SUBSCRIPTS):
        parts += [dot(at, y[k], r=15) + text(at, y[k] + 5, "a" + name) for at in x]
        parts.append(text(330, y[k] + 5, _signed(b[k])))
        into = range(4) if k < 2 else (2, 3)
        parts += [line(x[0], y[k], x[1], y[to], gap=15) for to in into]
    for top, name in ((0, "α"), (2, "x")):
        parts += [
            line(62, y[top] - 12, 62, y[top + 1] + 12),
            text(45, (y[top] + y[top + 1]) / 2 + 5, name),
        ]
    labels = {(130, 40): _signed(w[0, 0]), (115, 95): _signed(w[0, 1])}
    labels |= {(130, 176): "c", (124, 209): "s", (118, 225): "−s", (150, 257): "c"}
    parts += [text(*place, words) for place, words in labels.items()]
    for middle, state, alpha in ((90, "on", 1), (270, "off", 0)):
        gate = w[0, 0] * alpha + b[2]
        parts += _relu(middle, 358, gate)
        parts.append(text(middle, 302, f"{state}, α = {alpha}: gate {_signed(gate, '+')}"))
    parts.append(text(180, 392, "the bar: where components land"))
    says = (
        "Four neurons before and after a layer. The two indicator neurons reach all four with "
        f"weights {w[0, 0]:g} and {w[0, 1]:g}; the two vector neurons reach each other with c, s, "
        "minus s and c. On, the gate lifts all components to where the ReLU passes them; off, it "
        "lowers them to where the ReLU is 0."
    )
    return drawing(parts, width=360, height=400, says=says)


def blocks(table: Table, *, n: int, pair: tuple[int, int]) -> HTML:
    """Four blocks of n positions, and two circuits of the table that meet in one of them."""
    rows = [set(table[t].tolist()) for t in pair]
    if len(rows[0] & rows[1]) != 1:
        raise ValueError(f"circuits {pair} share {len(rows[0] & rows[1])} positions; allowed: 1")
    (shared,), step = rows[0] & rows[1], 330 / n
    at = [rounded(15 + step * (p + 0.5)) for p in range(n)]
    parts = [line(at[shared], 38, at[shared], 232, dash="3 4"), text(at[shared], 249, "they meet")]
    for k, (t, color) in enumerate(zip(pair, (FIRST, SECOND), strict=True)):
        parts += [
            dot(22 + 140 * k, 13, color),
            text(36 + 140 * k, 18, f"circuit {t}", anchor="start"),
        ]
    side, anchor = (345, "end") if shared < n / 2 else (15, "start")
    for block, kind in enumerate(("indicator", "indicator", "vector", "vector")):
        y = 68 + 48 * block
        parts.append(text(side, y - 14, f"block {block}, {kind}", anchor=anchor))
        for p in range(n):
            parts.append(dot(at[p], y, *_owners(p, rows)))
    says = (
        f"Four blocks of {n} positions. Circuit {pair[0]} sits on positions {_listed(rows[0])} and "
        f"circuit {pair[1]} on {_listed(rows[1])} of every block; they meet in position {shared}."
    )
    return drawing(parts, width=360, height=256, says=says)


def entries(tables: Int[np.ndarray, "2 2 S"], *, n: int, chi: float) -> HTML:
    """The embedding matrix of two circuits: its entries, from positions before to those after."""
    S, step = tables.shape[2], 330 / n
    at = [rounded(15 + step * (p + 0.5)) for p in range(n)]
    before, after = ([set(row.tolist()) for row in table] for table in tables)
    parts, top, low = [text(180, 16, "after"), text(180, 226, "before")], 40, 196
    for p in range(n):
        for q in range(n):
            users = [k for k in (0, 1) if p in after[k] and q in before[k]]
            shift = [4 * (2 * k - 1) * (len(users) - 1) for k in users]
            for k, move in zip(users, shift, strict=True):
                parts.append(
                    line(at[q] + move, low, at[p] + move, top, color=(FIRST, SECOND)[k], gap=9)
                )
            if not users:
                parts.append(line(at[q], low, at[p], top, gap=9, dash="2 5"))
        for y, rows in ((low, before), (top, after)):
            parts.append(dot(at[p], y, *_owners(p, rows)))
    parts += [line(20, 250, 50, 250, color=FIRST), line(20, 256, 50, 256, color=SECOND)]
    parts += [text(58, 258, f"1/S = 1/{S}", anchor="start"), line(200, 253, 230, 253, dash="2 5")]
    parts.append(text(238, 258, f"−χ = {_signed(-chi)}", anchor="start"))
    says = (
        f"Two rows of {n} positions. Lines of a circuit's colour join its positions before to its "
        f"positions after: entries 1/{S}. Dashed lines, the entries −χ, join the rest."
    )
    return drawing(parts, width=360, height=266, says=says)


def readout(values: Float[np.ndarray, "2 S"]) -> HTML:
    """What two circuits find on their S positions, and the averages that are their read-outs."""
    parts: list[str] = []
    for k, (name, color) in enumerate((("active", FIRST), ("inactive, meets it once", SECOND))):
        y, step = 30 + 74 * k, min(42, 250 / values.shape[1])
        parts.append(text(10, y - 10, name, anchor="start"))
        for s, value in enumerate(values[k]):
            place = f'x="{rounded(10 + step * s)}" y="{y}" width="{rounded(step)}" height="30"'
            parts.append(f'<rect {place} fill="none" stroke="{color}" stroke-width="1.3"/>')
            parts.append(text(10 + step * (s + 0.5), y + 20, f"{value:.2g}"))
        end = 10 + step * values.shape[1]
        parts += [
            arrow(end + 4, y + 15, end + 36, y + 15),
            text(end + 42, y + 20, f"{values[k].mean():.2f}", anchor="start"),
        ]
    says = "Two rows of boxes, each with its average: " + "; ".join(
        f"{', '.join(f'{v:.2g}' for v in row)} give {row.mean():.2f}" for row in values
    )
    return drawing(parts, width=360, height=142, says=says)


def links(network: cisp.Network | None = None) -> HTML:
    """Two and three links from an active circuit to a neuron of block 0, in a network's layer 2.

    The running example's if no network is given.
    """
    network = rotation_network(557, 1000, S=6) if network is None else network
    S, chi = network.S, network.chi[1].item()
    weight, limit = network.circuits.w_mean[0, 0].item(), -network.circuits.b[0].item()
    parts, said = [text(180, 196, "the active circuit’s positions")], []
    for middle, h in ((88, 2), (272, 3)):
        arrives = weight * (h / S - (S - h) * chi)
        at = middle + 160 / S * (np.arange(S) - (S - 1) / 2)
        on = arrives > limit
        for s in range(S):
            color, dash = (FIRST, "") if s < h else (INK, "2 5")
            link = line(at[s], 170, middle, 60, color=color, gap=9, dash=dash)
            parts += [link, dot(at[s], 170, FIRST)]
        state = f"{arrives:.2f} {'>' if on else '<'} {limit:g}: {'on' if on else 'off'}"
        parts += [
            dot(middle, 60, *([INK] if on else [])),
            text(middle, 18, f"{h} links"),
            text(middle, 40, state),
        ]
        said.append(f"with {h} links {arrives:.2f} arrives, the neuron is {'on' if on else 'off'}")
    says = f"A neuron above the {S} positions of an active circuit: " + "; ".join(said)
    return drawing(parts, width=360, height=204, says=says)


def _owners(p: int, rows: Sequence[set[int]]) -> list[str]:
    """The colours of those of two circuits that sit on position p."""
    return [color for color, row in zip((FIRST, SECOND), rows, strict=True) if p in row]


def _relu(x: float, y: float, gate: float) -> list[str]:
    """A ReLU over −2..2 about x, 22 pixels a unit, and a bar: where the gate puts −1..1."""
    bar = f'x="{rounded(x + 22 * (gate - 1))}" y="{rounded(y + 4)}" width="44" height="7"'
    return [
        line(x - 44, y, x, y),
        line(x, y, x + 44, y - 44),
        f'<rect {bar} fill="{FIRST}"/>',
    ]


def _signed(v: float, plus: str = "") -> str:
    return (plus if v > 0 else "") + f"{v:g}".replace("-", "−")


def _listed(row: set[int]) -> str:
    return ", ".join(map(str, sorted(row)))
