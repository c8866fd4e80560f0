"""Any small ReLU networks as circuits: biases ride on an On-indicator (beyond the post).

A circuit x -> ReLU(w x + b), layer by layer, with weights and biases of its own, becomes one of
`SmallCircuits`, which share their biases, by two more neurons and a gate:

    x -> ReLU(w x + (b + beta) alpha - beta).

    alpha   what comes in   out
    1       x               ReLU(w x + b), the circuit
    0       noise           0, as long as |w noise| stays below beta
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cisp.arguments import instance, positive, refuse, told
from cisp.circuits import SmallCircuits
from cisp.inputs import Inputs, finite, mapped, samples, unit
from cisp.rotations import step_bias
from cisp.shapes import check_tensor

Layers = Tensor | Sequence[Tensor]


def gated(
    w: Layers,
    b: Layers,
    *,
    bias: float | int | Tensor = 1.0,
    signed: float | int | Tensor = 0.0,
    gain: float | int = 2,
    threshold: float | int = 0.5,
    load: float | int | None = None,
    inputs: Inputs | None = None,
    outputs: tuple[Tensor, Tensor] | None = None,
) -> SmallCircuits:
    """T circuits x^l = ReLU(w_t^l x^{l-1} + b_t^l) under an On-indicator, d = 2 + m neurons wide.

    Equation C19.1. Neurons 0 and 1 carry the indicator alpha = a_0 - a_1, the other m carry x:

        a^l = ReLU(w_t (a^{l-1} - s^{l-1} alpha) + (b_t + s^l + bias) alpha - bias)

    w: (L, T, m, m), or a list of L tensors (T, m_l, m_{l-1}); narrower layers are filled up with
        neurons that stay at 0.
    b: (L, T, m), or a list of L tensors (T, m_l).
    bias: beta > 0, a number, (m,) or (L, m): the noise w delta that an inactive circuit silences.
    signed: s >= 0, a number, (m,) or (L, m). Where it is not 0 the neuron has no ReLU but keeps the
        sign of x, carried as x + s alpha and cut below -s; x = a - s alpha is what "state" reads.
    gain, threshold: of the indicator's step, see `step_indicators`.
    load: a bound on |x^0|. One more layer then comes first, which loads x^0 without a fault where
        circuits share a position; what is read from it means nothing.
    inputs: where x^0 is drawn from: samples (N, m_0) for all circuits or (T, N, m_0) for each, or a
        function of (batch, z, active, rng) that gives (batch, z, m_0); else from the unit sphere.
    outputs: (T, k, m) and (T, k), a last layer without a ReLU, y = w x + b, as read-out "output".

    Read-outs: "indicator" (1), "state" (m), and "output" (k) if there is one.

    Raises ValueError for shapes that do not fit, entries that are not finite, and a bias that is
    not positive.

    >>> circuits = gated(torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4))
    >>> circuits
    SmallCircuits(T=3, d=6, L=2, read-outs: indicator (1), state (4), float32)
    """
    positive("gain", gain), positive("threshold", threshold)
    w, b, into = _padded(w, b)
    L, T, m, _ = w.shape
    beta, s = _each("bias", bias, w), _each("signed", signed, w)
    if not bool((beta > 0).all()):
        raise ValueError(f"bias={float(beta.min()):.6g} is not allowed; it must be positive")
    if not bool((s >= 0).all()):
        raise ValueError(f"signed={float(s.min()):.6g} is not allowed; it must not be negative")
    used = (w != 0).any(-1) | (b != 0) | (s > 0).unsqueeze(1)  # what fills up stays at 0
    before = torch.cat([torch.zeros_like(s[:1]), s[:-1]])
    rides = b + (s + beta).unsqueeze(1) * used - torch.einsum("ltij,lj->lti", w, before)
    full = w.new_zeros(L, T, m + 2, m + 2)
    full[:, :, :2, 0], full[:, :, :2, 1] = gain, -gain
    full[:, :, 2:, 0], full[:, :, 2:, 1], full[:, :, 2:, 2:] = rides, -rides, w
    shared = torch.cat([step_bias(gain, threshold, w.dtype).expand(L, 2).to(w), -beta], 1)
    mean, spread = w.new_zeros(m + 2), w.new_zeros(m + 2, into)
    mean[0], mean[1], spread[2 : 2 + into] = 1.5, 0.5, unit(into, w)
    circuits = SmallCircuits(
        w=full,
        b=shared,
        readouts=_readouts(s[-1], outputs, w),
        input_mean=mean,
        input_map=spread,
        inputs=mapped(samples(inputs, w, into), mean, spread),
    )
    return circuits if load is None else _loaded(circuits, positive("load", load))


def gated_modules(modules: Iterable[nn.Sequential], **options: object) -> SmallCircuits:
    """Networks of nn.Linear and nn.ReLU, all of one shape, as T gated circuits.

    A last Linear without a ReLU becomes each circuit's own read-out, "output". Other options are
    those of `gated`; the circuits come in the modules' dtype, without their gradients.

    Raises ValueError for modules of different shapes, for a layer that is neither Linear nor ReLU,
    and for a ReLU or a Linear where the other is expected. Warns of hidden layers that are filled
    up because they are narrower than others.

    >>> nets = [nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 2)) for _ in range(3)]
    >>> gated_modules(nets)
    SmallCircuits(T=3, d=10, L=1, read-outs: indicator (1), state (8), output (2), float32)
    """
    instance("modules", modules, Iterable)
    modules = list(modules)
    if not modules:
        raise ValueError("modules=[] is empty; it must hold networks")
    linears = [_linears(k, module) for k, module in enumerate(modules)]
    shapes = [[tuple(layer.weight.shape) for layer in net] for net in linears]
    for k, shape in enumerate(shapes):
        if shape != shapes[0] or len(modules[k]) != len(modules[0]):
            raise ValueError(
                f"modules[{k}] has weights {shape}, modules[0] {shapes[0]}; they must be alike"
            )
    with torch.no_grad():
        w = [torch.stack([layer.weight for layer in each]) for each in zip(*linears, strict=True)]
        b = [torch.stack([_bias(layer) for layer in each]) for each in zip(*linears, strict=True)]
    read = None if isinstance(modules[0][-1], nn.ReLU) else (w.pop(), b.pop())
    if not w:
        raise ValueError("modules[0] has no ReLU; a circuit needs at least one Linear and ReLU")
    widths = [each.shape[1] for each in w]
    if len(set(widths)) > 1:
        warnings.warn(
            f"hidden layers of {widths} neurons are all filled up to {max(widths)}", stacklevel=2
        )
    return gated(w, b, outputs=read, **options)  # type: ignore[arg-type]  # gated checks them


def silenced(circuits: SmallCircuits, bias: Float[Tensor, "L d"]) -> SmallCircuits:
    """The same circuits with another bias on their gates, as positive numbers, from layer 2 on.

    The gate rises with the bias, (b_t + beta) alpha - beta, so that an active circuit computes the
    same. Neurons of the indicator and those whose `bias` is what they have stay as they are.

    Raises ValueError for circuits without an "indicator" read-out.

    >>> import cisp
    >>> circuits = cisp.conditional_rotations(T=3).with_layers(2)
    >>> silenced(circuits, torch.tensor([[0.5, 1.5, 2, 2]] * 2)).b[1].tolist()
    [-0.5, -1.5, -2.0, -2.0]
    """
    instance("circuits", circuits, SmallCircuits)
    if "indicator" not in circuits.readouts:
        raise ValueError(
            f"circuits have the read-outs {told(sorted(circuits.readouts))}; to raise a gate they "
            "need one named 'indicator'"
        )
    check_tensor("bias", bias, (circuits.L, circuits.d), None)
    alpha = circuits.readouts["indicator"]
    w = circuits.w.expand(circuits.L, *circuits.w.shape[-3:]).clone()
    b = circuits.b.expand(circuits.L, -1).clone()
    more = finite("bias", bias, b) + b
    more[0], more[:, alpha.ne(0).flatten(0, -2).any(0)] = 0, 0
    rows = alpha.expand(circuits.T, 1, circuits.d) if alpha.ndim == 2 else alpha
    return replace(circuits, w=w + more[:, None, :, None] * rows, b=b - more)


def _loaded(circuits: SmallCircuits, bound: float | int) -> SmallCircuits:
    """The circuits behind a layer that puts out (alpha, ReLU(alpha - 1), x + bound alpha).

    Where k circuits share a position it holds (k, k - 1, sum of x + bound k): an indicator of 1,
    and the sum of the inputs as a_i - bound a_0, exactly.
    """
    d = circuits.d
    first = unit(d, circuits.w)
    first[:2, :2] = first.new_tensor([1.0, -1.0])
    first[2:, 0], first[2:, 1] = bound, -bound
    w = torch.cat([first.expand(1, circuits.T, d, d), circuits.w])
    w[1, :, 2:, 0] -= bound * w[1, :, 2:, 2:].sum(-1)
    b = torch.cat([torch.zeros_like(circuits.b[:1]), circuits.b])
    b[0, 1] = -1
    return replace(circuits, w=w, b=b, L=circuits.L + 1)


def _readouts(s: Tensor, outputs: tuple[Tensor, Tensor] | None, w: Tensor) -> dict[str, Tensor]:
    T, m = w.shape[1:3]
    alpha = w.new_tensor([1.0, -1.0])
    state = torch.cat([-s.unsqueeze(1) * alpha, unit(m, w)], 1)
    readouts = {"indicator": torch.cat([alpha, w.new_zeros(m)]).unsqueeze(0), "state": state}
    if outputs is not None:
        if not isinstance(outputs, tuple | list) or len(outputs) != 2:
            refuse("outputs", outputs, f"two arrays, ({T}, k, {m}) and ({T}, k)")
        V, c = (finite("outputs", value, w) for value in outputs)
        if V.ndim != 3 or len(V) != T or V.shape[2] > m or c.shape != V.shape[:2]:
            raise ValueError(
                f"outputs has the shapes {tuple(V.shape)} and {tuple(c.shape)}; "
                f"they must be ({T}, k, {m}) and ({T}, k)"
            )
        V = torch.cat([V, V.new_zeros(*V.shape[:2], m - V.shape[2])], 2)
        readouts["output"] = V @ state + c.unsqueeze(2) * readouts["indicator"]
    return readouts


def _padded(w: Layers, b: Layers) -> tuple[Tensor, Tensor, int]:
    """w (L, T, m, m) and b (L, T, m) with layers filled up to the widest, and the inputs' width."""
    for name, value in (("w", w), ("b", b)):
        instance(name, value, Tensor, Sequence)
    weights = [finite(f"w[{k}]", each) for k, each in enumerate(w)]
    biases = [finite(f"b[{k}]", each) for k, each in enumerate(b)]
    if not weights or len(weights) != len(biases):
        raise ValueError(
            f"w has {len(weights)} layers and b {len(biases)}; they must agree, none 0"
        )
    T, width = (weights[0].shape[0], weights[0].shape[-1]) if weights[0].ndim == 3 else (0, 0)
    m, into = width, width
    for k, (each, own) in enumerate(zip(weights, biases, strict=True)):
        if (
            each.ndim != 3
            or 0 in each.shape
            or each.shape[::2] != (T, width)
            or own.shape != each.shape[:2]
        ):
            raise ValueError(
                f"w[{k}] has shape {tuple(each.shape)} and b[{k}] {tuple(own.shape)}; they must be "
                f"({T or 'T'}, m, {width or 'm'}) and ({T or 'T'}, m)"
            )
        width = each.shape[1]
        m = max(m, width)
    full = weights[0].new_zeros(len(weights), T, m, m)
    rides = weights[0].new_zeros(len(weights), T, m)
    for k, (each, own) in enumerate(zip(weights, biases, strict=True)):
        full[k, :, : each.shape[1], : each.shape[2]] = each
        rides[k, :, : own.shape[1]] = own
    return full, rides, into


def _each(name: str, value: object, w: Float[Tensor, "L T m m"]) -> Float[Tensor, "L m"]:
    number, (L, m) = finite(name, value, w), (w.shape[0], w.shape[2])
    if number.shape not in ((), (m,), (L, m)):
        raise ValueError(
            f"{name} has shape {tuple(number.shape)}; it must be a number, ({m},) or ({L}, {m})"
        )
    return number.expand(L, m)


def _linears(k: int, module: nn.Sequential) -> list[nn.Linear]:
    """The linear layers of one network, or a ValueError if it is not Linear, ReLU, Linear, ..."""
    if not isinstance(module, nn.Sequential):
        raise ValueError(f"modules[{k}] is {type(module).__name__}; it must be Sequential")
    found = []
    for place, layer in enumerate(module):
        wanted = (nn.Linear, nn.ReLU)[place % 2]
        if not isinstance(layer, wanted):
            raise ValueError(
                f"modules[{k}][{place}] is {type(layer).__name__}; it must be {wanted.__name__}: "
                "circuits are Linear, ReLU, Linear, ReLU, ..."
            )
        if isinstance(layer, nn.Linear):
            found.append(layer)
    if not found:
        raise ValueError(f"modules[{k}] is empty; it must hold Linear and ReLU")
    return found


def _bias(layer: nn.Linear) -> Tensor:
    return layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
