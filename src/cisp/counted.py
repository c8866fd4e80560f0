"""Gated circuits rewritten so that positions can count who is active on them (beyond the post).

A gated circuit has an On-indicator, whose neurons hold constants while it is on, and d' other
neurons: on, its state a goes to ReLU(V a + c). In counted form one neuron, 1 when on, takes the
place of the indicator's, and the state has room for the S - 1 channels of `Channels`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cisp.circuits import SmallCircuits
from cisp.inputs import mapped, unit
from cisp.reach import affine_states, bound, boxes, precise

Counted = tuple[SmallCircuits, Tensor, Tensor, Tensor]  # circuits, w_mean, counts, flags


@dataclass(frozen=True, eq=False)
class WhileOn:
    """What is left of gated circuits once they are on: a -> ReLU(V a + c), layer by layer.

    mean, map: the law of inputs of the state, as in `SmallCircuits`. gate: which of the circuits'
    neurons hold the indicator. readouts: for each quantity
    what it takes of the indicator (k, 1) and of the state (k, d'), or (T, k, 1) and (T, k, d').

    >>> import cisp
    >>> on = while_on(cisp.conditional_rotations(T=4))
    >>> {name: tuple(m.shape) for name, m in on.readouts.items()}
    {'indicator': (1, 3), 'rotation': (2, 3)}
    """

    V: Float[Tensor, "L T m m"]
    c: Float[Tensor, "L T m"]
    mean: Float[Tensor, " m"]
    map: Float[Tensor, "m k"]
    readouts: dict[str, Float[Tensor, "*T _ _"]]
    gate: Bool[Tensor, " d"]


def while_on(circuits: SmallCircuits) -> WhileOn:
    """The circuits while they are on.

    Raises ValueError if there is no read-out "indicator", if its neurons are all there are, or if
    they do not hold the same constants in all circuits and in all layers.

    >>> import cisp
    >>> on = while_on(cisp.conditional_rotations(T=4))
    >>> on.gate.tolist(), tuple(on.V.shape)
    ([True, True, False, False], (5, 4, 2, 2))
    """
    if "indicator" not in circuits.readouts:
        raise ValueError(
            f"circuits have the read-outs {sorted(circuits.readouts)}; they need one named "
            "'indicator', which tells the neurons that hold the On-indicator from the others"
        )
    gate = circuits.readouts["indicator"].ne(0).flatten(0, -2).any(0)
    if bool(gate.all()):
        raise ValueError(
            f"circuits have d={circuits.d} neurons, all of the On-indicator; they need others too"
        )
    w = circuits.w.expand(circuits.L, *circuits.w.shape[-3:])
    b = circuits.b.expand(circuits.L, -1)
    on = circuits.input_mean[gate]
    _check_gate(w, b, circuits.input_map, on, gate)
    return WhileOn(
        V=w[..., ~gate, :][..., ~gate],
        c=w[..., ~gate, :][..., gate] @ on + b[:, None, ~gate],
        mean=circuits.input_mean[~gate],
        map=circuits.input_map[~gate],
        readouts={
            name: torch.cat([(m[..., gate] @ on).unsqueeze(-1), m[..., ~gate]], -1)
            for name, m in circuits.readouts.items()
        },
        gate=gate,
    )


def _check_gate(
    w: Float[Tensor, "L T d d"],
    b: Float[Tensor, "L d"],
    spread: Float[Tensor, "d k"],
    on: Float[Tensor, " g"],
    gate: Bool[Tensor, " d"],
) -> None:
    heard = w[..., gate, :][..., ~gate].abs().amax((0, 2, 3))
    if bool(spread[gate].any()) or bool(heard.any()):
        t = int(heard.argmax())
        raise ValueError(
            f"the On-indicator of circuit {t} depends on its state or is drawn at random; its "
            "neurons must read each other only and hold constants while it is on"
        )
    stays = torch.relu(w[..., gate, :][..., gate] @ on + b[:, None, gate])
    off = (stays - on).abs().amax(-1)
    if float(off.max()) > 1e-5:
        layer, t = (int(k) for k in torch.unravel_index(off.argmax(), off.shape))
        raise ValueError(
            f"the On-indicator of circuit {t} goes from {on.tolist()} to "
            f"{stays[layer, t].tolist()} in layer {layer + 1}; while a circuit is on it must hold"
        )


def least_M(circuits: SmallCircuits, *, z: int) -> float:
    """An M that is large enough for `counted` (z = 2) or `planned` (other z).

    Over all circuits t and u, layers and states a_u, m is the most that V_t a_u + c_t can be, p_t
    the most that V_t a_u can be with the positive entries of V_t alone, and a the largest state:

        counted   max_t (4 p_t + 2 c_t)
        planned   max(z m, z c / 2, 2 a)

    Where within the law of inputs no ReLU cuts, as in rotations, these are taken over the states
    that occur; else over boxes that hold them, which grow with depth.

    >>> import cisp
    >>> [round(least_M(cisp.conditional_rotations(T=4), z=z), 2) for z in (2, 3)]
    [8.44, 6.0]
    """
    exact = affine_states(circuits)
    states, affine = (boxes(circuits), False) if exact is None else (exact, True)
    on = while_on(precise(circuits))
    gate = on.gate
    needed = [1e-3]
    for layer, X in enumerate(states, 2):
        a, V, c = X[:, ~gate], on.V[layer - 1], on.c[layer - 1]
        if z == 2:
            needed.append(float((4 * bound(V.clamp(min=0), a, affine) + 2 * c).max()))
        else:
            itself = unit(len(on.mean), V).unsqueeze(0)
            m, largest = (bound(V, a, affine) + c).max(), bound(itself, a, affine).max()
            needed += [z * float(m), z * float(c.max()) / 2, 2 * float(largest)]
    return max(needed)


def counted(circuits: SmallCircuits, M: float) -> Counted:
    """Counted form for two active circuits: 1 + 2 d' neurons, (k, h_1, h_2).

    With K_c the count heard in channel c and Y_c what is heard of V a + c,

        k <- k,   h_1 <- ReLU(Y_1 + M (k - K_1)),   h_2 <- ReLU(Y_2 + M K_1 - 2 M).

    >>> import cisp
    >>> form, w_mean, counts, flags = counted(cisp.conditional_rotations(T=4), M=12.0)
    >>> form
    SmallCircuits(T=4, d=5, L=5, read-outs: indicator (1), rotation (2), float32)
    """
    on = while_on(circuits)
    L, T, m = on.c.shape
    d = 1 + 2 * m
    w_mean, counts, b = on.V.new_zeros(d, d), on.V.new_zeros(2, d), on.V.new_zeros(d)
    w_mean[0, 0], w_mean[1 : 1 + m, 0] = 1, M
    counts[0, 1 : 1 + m], counts[0, 1 + m :] = -M, M
    b[1 + m :] = -2 * M
    values = torch.cat([on.c.unsqueeze(-1), on.V, on.V], -1)  # L T m d
    w = w_mean + torch.cat([torch.zeros_like(values[:, :, :1]), values, values], 2)
    w[..., 0] += counts.sum(0)
    w[0, :, 1 + m :] = 0  # layer 1 is the input's: nothing is selected yet
    return (
        _form(circuits, on, w, b.expand(L, -1).clone(), first=1),
        w_mean.expand(L, -1, -1).clone(),
        counts.expand(L, -1, -1).clone(),
        on.V.new_ones(L, 1),
    )


def planned(circuits: SmallCircuits, M: float, z: int) -> Counted:
    """Counted form for any z active circuits: 1 + z (1 + d') neurons and one more layer.

        1     k <- k,    j <- ReLU(k - 1),             h_1 <- the circuits' layer 1
        2     o <- k-j,  f_c <- ReLU(2 k - 2 j - K_c), h_1 <- ReLU(h_1 - M j)
        3     o <- o,    g_c <- ReLU(e_c),             h_c <- ReLU(Y_c + M e_c - M)
        l>3   o <- o,    g_c <- g_c,                   h_c <- ReLU(Y_c + M g_c - M)

    f_c = 1 where k = K_c = 1, else 0: channel c is clean. e_c = f_c - sum_{c' < c} f_c', so that
    g_c = 1 for the first clean channel alone. Layer 2 computes nothing, layer l > 2 is the
    circuits' layer l - 1.

    >>> import cisp
    >>> form, w_mean, counts, flags = planned(cisp.conditional_rotations(T=4), M=12.0, z=3)
    >>> form
    SmallCircuits(T=4, d=10, L=6, read-outs: indicator (1), rotation (2), float32)
    """
    on = while_on(circuits)
    L, T, m = on.c.shape[0] + 1, *on.c.shape[1:]
    first, d = 1 + z, 1 + z + z * m
    flag = slice(1, first)
    w_mean, b = on.V.new_zeros(L, d, d), on.V.new_zeros(L, d)
    counts = on.V.new_zeros(L, z, d)
    w_mean[1:, 0, 0] = 1
    b[0, 1] = -1
    if L > 1:
        w_mean[1, 0, 1], w_mean[1, flag, 0], w_mean[1, flag, 1] = -1, 2, -2
        w_mean[1, first : first + m, first : first + m] = unit(m, w_mean)
        w_mean[1, first : first + m, 1] = -M
        counts[1, :, flag] = -unit(z, b)
    for layer in range(2, L):
        chosen = unit(z, b)
        chosen = chosen - b.new_ones(z, z).tril(-1) if layer == 2 else chosen
        w_mean[layer, flag, flag] = chosen
        w_mean[layer, first:, flag] = M * chosen.repeat_interleave(m, 0)
        b[layer, first:] = -M
    w = w_mean.unsqueeze(1).repeat(1, T, 1, 1)
    w[1:2, :, :, 0] += counts[1:2].sum(1, keepdim=True)
    w[0, :, :2, 0] = 1
    w[0, :, first : first + m, 0] = on.c[0]
    w[0, :, first : first + m, first : first + m] = on.V[0]
    flagless = on.V.new_zeros(len(w[2:]), T, m, z)
    values = torch.cat([on.c[1:].unsqueeze(-1), flagless, *[on.V[1:]] * z], -1)
    w[2:, :, first:] += values.repeat(1, 1, z, 1)
    flags = on.V.new_zeros(L, first)
    flags[:, 0], flags[1:2, flag], flags[2:, 1] = 1, 1, 1
    return _form(circuits, on, w, b, first=first), w_mean, counts, flags


def _form(
    circuits: SmallCircuits, on: WhileOn, w: Float[Tensor, "L T d d"], b: Tensor, *, first: int
) -> SmallCircuits:
    """Circuits with these weights, whose state is read as the sum over its channels."""
    m, d = len(on.mean), w.shape[-1]
    copies = (d - first) // m
    readouts = {}
    for name, matrix in on.readouts.items():
        none = matrix.new_zeros(*matrix.shape[:-1], first - 1)
        readouts[name] = torch.cat([matrix[..., :1], none, *[matrix[..., 1:]] * copies], -1)
    mean, spread = w.new_zeros(d), w.new_zeros(d, on.map.shape[1])
    mean[0], mean[first : first + m], spread[first : first + m] = 1, on.mean, on.map
    state = w.new_zeros(d, circuits.d)  # what is taken of inputs of their own
    state[first : first + m, ~on.gate] = unit(m, w)
    one = unit(d, w)[0]
    return SmallCircuits(
        w=w,
        b=b,
        readouts=readouts,
        theta=circuits.theta if len(w) == circuits.L else None,  # with a plan, layers are others
        input_mean=mean,
        input_map=spread,
        inputs=mapped(circuits.inputs, one, state),
    )
