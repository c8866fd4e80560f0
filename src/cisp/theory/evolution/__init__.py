"""Density evolution: the law of the On-indicators, layer by layer (chapter 11).

The On-indicators evolve alone: s_p = step(u_p), u = W_emb s. Seen from a position p that carries
circuit t, with a_t the read-out of t's S positions in the layer before,

    u_p = a_t + (1/S + chi) X - chi M,

where X sums s over the positions that the other circuits on p bring in, and M over all positions
but t's. One map, read-out -> S neurons -> next read-out, serves active and inactive circuits; the
vectors ride along. Rooms: `crowd` is an allocation as its circuits meet, `laws` what is done to a
law on a grid, `first` layer 1, `setting` what stays the same from layer to layer (`Ingredients`
among it), `state` a layer, `rows` how links to it come, `seen` what its positions see of it,
`indicators`, `vectors` and their `neurons` the map, `prediction` the whole, and `domain` where it
holds and how far it may be off.

Axes of arrays, in all rooms: r draws, k kinds of rows, c classes of positions, m positions of a
row that active circuits take (K in C7.2), a read-outs, b those that occur, s indicators of a
neuron, x the values of X, h links, i components of a vector, w frequencies, n read-outs of all
draws that occur (`Nodes`).
"""

from cisp.theory.evolution.prediction import DensityEvolution, density_evolution, evolve
from cisp.theory.evolution.seen import received
from cisp.theory.evolution.setting import Ingredients, Setting, Step

__all__ = [
    "DensityEvolution",
    "Ingredients",
    "Setting",
    "Step",
    "density_evolution",
    "evolve",
    "received",
]
