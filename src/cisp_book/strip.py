"""The whole book as one strip of four pictures."""

from collections.abc import Mapping

import numpy as np
import torch
from IPython.display import HTML
from jaxtyping import Bool

import cisp
from cisp_book.networks import rotation_network
from cisp_book.svg import FIRST, INK, SECOND, dot, dots, line, panels

STRAY = "#949494"  # on, though nobody asked for it


def strip() -> HTML:
    """The book in four pictures: circuits, embedding, seizure, cure, of the running example."""
    post = rotation_network(557, 1000, S=6)
    over_angles = torch.tensor([[2.0, -2, 0, 0]] * 4, dtype=torch.float64)
    cured = cisp.superpose_extrinsic(post.circuits, D=1000, S=6, L=5, rng=101, w_mean=over_angles)
    table = post.tables[0]
    other = int((table[1:, :, None] == table[0]).any((1, 2)).nonzero()[0]) + 1  # the first it meets
    pair = [torch.isin(torch.arange(250), table[t]).numpy() for t in (0, other)]
    seized, quiet = (_on(network) for network in (post, cured))
    pictures = [
        ("557 circuits", [_hand(k, angle) for k, angle in enumerate(_angles(post.circuits))]),
        ("embedding", _field({FIRST: pair[0], SECOND: pair[1]})),
        (f"seizure: {seized[1].sum()} on", _field({FIRST: seized[0], STRAY: seized[1]})),
        (f"cure: {quiet[1].sum()} on", _field({FIRST: quiet[0], STRAY: quiet[1]})),
    ]
    says = (
        "Four pictures. Circuits: sixteen of 557, each a hand at its own angle. Embedding: the 250 "
        "positions of a block, two circuits on six each, one position shared. Seizure: with one "
        f"circuit active, {seized[1].sum()} neurons of block 0 are on after five layers, where six "
        f"were asked for. Cure: in the extrinsic network {quiet[1].sum()} are on."
    )
    return panels(pictures, size=150, says=says)


def _on(network: cisp.Network) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """With circuit 0 active: its positions after the last layer, and the neurons on in block 0."""
    a0 = network.circuits.sample_inputs(batch=1, z=1, rng=0)
    A = network(network.embed(a0, torch.tensor([[0]])))[-1, 0, 0]
    asked = torch.isin(torch.arange(network.n), network.tables[-1, 0])
    return asked.numpy(), (A > 1e-4).numpy()


def _field(marks: Mapping[str, Bool[np.ndarray, " n"]]) -> list[str]:
    """Positions in rows of 16, the marked ones filled; halves where two circuits are."""
    places: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for p in range(len(next(iter(marks.values())))):
        colors = tuple(color for color, mark in marks.items() if mark[p])
        colors = colors[:1] if STRAY in colors else colors
        places.setdefault(colors, []).append((7.5 + 9 * (p % 16), 7.5 + 9 * (p // 16)))
    parts = [dots(places.pop((), []), INK, r=1)]
    for colors, some in places.items():
        halves = [dot(x, y, *colors, r=3.5) for x, y in some]
        parts += halves if len(colors) == 2 else [dots(some, colors[0], r=3.5)]
    return parts


def _angles(circuits: cisp.SmallCircuits) -> list[float]:
    """The angles of the first sixteen rotation circuits, from the vector part of their weights."""
    return torch.atan2(circuits.w[:16, 3, 2], circuits.w[:16, 2, 2]).tolist()


def _hand(k: int, angle: float) -> str:
    """The k-th of sixteen clocks, its hand at this angle."""
    x, y = 19 + 37.3 * (k % 4), 19 + 37.3 * (k // 4)
    return dot(x, y, r=15) + line(x, y, x + 15 * np.cos(angle), y - 15 * np.sin(angle), color=FIRST)
