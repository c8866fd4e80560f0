"""The post's assumptions about the small circuits as executable checks (section 5.2)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cisp.arguments import count, instance
from cisp.circuits import SmallCircuits
from cisp.inputs import unit
from cisp.reach import affine_states, bound, drawn_states
from cisp.shapes import check_tensor

TRIED = 512  # inputs on which amplification is measured, or one for each circuit if there are more
TINY = 1e-9  # a push that is rounding


@dataclass(frozen=True)
class Finding:
    """Whether one assumption holds, by what margin, and where the margin was found.

    `margin` is the number that `measure` describes. `circuit` and `layer` name the worst one, None
    where the assumption is about all of them together.

    >>> print(Finding("1", True, 0.083, "active circuits per position, z d/D"))
    assumption 1     holds: active circuits per position, z d/D = 0.083
    """

    assumption: str
    holds: bool
    margin: float
    measure: str
    circuit: int | None = None
    layer: int | None = None

    def __str__(self) -> str:
        where = f" (circuit {self.circuit}, layer {self.layer})" if self.circuit is not None else ""
        verdict = "holds" if self.holds else "FAILS"
        return (
            f"assumption {self.assumption:5} {verdict}: {self.measure} = {self.margin:.3f}{where}"
        )


def check_assumptions(circuits: SmallCircuits, *, D: int, z: int) -> list[Finding]:
    """Findings on assumptions 1, 2, 3, 4', 5', the older 4 and C14.2, in this order.

    1: few circuits are active. 2: inactive circuits ignore noise. 3: they are at zero. 4': one bias
    for all. 5': active circuits do not amplify noise. The older 4, uncorrelated weights, is only
    reported: it need not hold, and for rotations it does not. C14.2, which the extrinsic network
    needs: what leaks from a circuit stays below the bias.

    Weights of layer 1 meet no noise, as inputs are embedded by them: 2, 5' and C14.2 are about the
    others. 5' is judged where the theory needs it, on errors that leave the On-indicator alone; for
    circuits without an "indicator" read-out, on all errors.

    >>> import cisp
    >>> found = check_assumptions(cisp.conditional_rotations(T=6), D=48, z=1)
    >>> print(found[0])
    assumption 1     holds: active circuits per position, z d/D = 0.083
    """
    instance("circuits", circuits, SmallCircuits)
    return [
        few_are_active(circuits, D=D, z=z),
        inactive_ignore_noise(circuits),
        inactive_stay_zero(circuits),
        biases_agree(circuits.b.unsqueeze(-2).expand(*circuits.b.shape[:-1], circuits.T, -1)),
        noise_is_not_amplified(circuits, keep_indicator="indicator" in circuits.readouts),
        weights_are_uncorrelated(circuits),
        leaks_are_silenced(circuits),
    ]


def few_are_active(circuits: SmallCircuits, *, D: int, z: int) -> Finding:
    """Assumption 1: z << D/d. Reports z d/D and takes "much less" to mean at most a tenth.

    >>> import cisp
    >>> found = few_are_active(cisp.conditional_rotations(T=6), D=48, z=3)
    >>> found.holds, round(found.margin, 3)
    (False, 0.25)
    """
    instance("circuits", circuits, SmallCircuits)
    share = count("z", z) * circuits.d / count("D", D)
    return Finding("1", share <= 0.1, share, "active circuits per position, z d/D")


def inactive_ignore_noise(circuits: SmallCircuits) -> Finding:
    """Assumption 2 (5.9): the largest eps such that |da| <= eps gives ReLU(w da + b) = 0.

    Neuron i stays off for all such da exactly if eps |w_i| <= -b_i, with w_i its row of weights.

    >>> import cisp
    >>> found = inactive_ignore_noise(cisp.conditional_rotations(T=6))
    >>> found.holds, round(found.margin, 3)
    (True, 0.177)
    """
    instance("circuits", circuits, SmallCircuits)
    w, b, first = _noisy(circuits)
    rows, bias = w.norm(dim=-1), b.unsqueeze(-2)
    idle = (rows == 0) & (bias <= 0)
    eps, circuit, layer = _worst(torch.where(idle, torch.inf, -bias / rows), largest=False)
    layer += first - 1
    return Finding(
        "2", eps > 0, eps, "largest harmless noise on an inactive circuit, eps", circuit, layer
    )


def inactive_stay_zero(circuits: SmallCircuits) -> Finding:
    """Assumption 3: an inactive circuit has all activations 0. Its margin is the least of -b.

    From a = 0 the next activations are ReLU(b), which is 0 exactly if no bias is positive.

    >>> import cisp
    >>> found = inactive_stay_zero(cisp.conditional_rotations(T=6))
    >>> found.holds, round(found.margin, 3)
    (True, 0.5)
    """
    instance("circuits", circuits, SmallCircuits)
    margin = float(0 - circuits.b.max())  # no minus before a 0
    return Finding(
        "3", margin >= 0, margin, "least -b, distance of a resting neuron from switching on"
    )


def biases_agree(b: Float[Tensor, "*layers t d"]) -> Finding:
    """Assumption 4': one bias vector for all circuits of a layer.

    Takes a bias for each circuit, as circuits come before they are made to agree; `SmallCircuits`
    holds one for all and so always passes. Biases of one sign can be made to agree by rescaling.

    >>> found = biases_agree(torch.tensor([[-1.0, -1], [-1, -2]]))  # of two circuits
    >>> found.holds, found.margin, found.circuit
    (False, 1.0, 1)
    """
    check_tensor("b", b, None, None)
    if b.ndim not in (2, 3):
        raise ValueError(f"b has shape {tuple(b.shape)}; it must be (T, d) or (L, T, d)")
    gap, circuit, layer = _worst((b - b.narrow(-2, 0, 1)).abs(), largest=True)
    return Finding(
        "4'", gap == 0, gap, "largest difference of a bias from circuit 0's", circuit, layer
    )


def noise_is_not_amplified(circuits: SmallCircuits, *, keep_indicator: bool) -> Finding:
    """Assumption 5' (5.10): the largest |da^l| / |da^{l-1}| for a small error on an active circuit.

    On the circuits' own inputs: the spectral norm of w_t, of whose rows those of neurons that are
    off do not count. A ReLU never lengthens a difference. With keep_indicator only errors are
    considered that the "indicator" read-out does not see: of neurons that it does not read, or, if
    it reads all, those that it maps to 0. The post compares errors relative to |a|, which changes
    from layer to layer (for the rotations by up to a factor of 1.77); these are absolute.

    >>> import cisp
    >>> circuits = cisp.conditional_rotations(T=6)
    >>> [noise_is_not_amplified(circuits, keep_indicator=keep).holds for keep in (True, False)]
    [True, False]
    """
    instance("circuits", circuits, SmallCircuits)
    w, b, first = _noisy(circuits)
    seen = unit(circuits.d, w)
    if keep_indicator:
        if "indicator" not in circuits.readouts:
            raise ValueError(
                f"keep_indicator=True needs a read-out named 'indicator'; "
                f"these circuits have {sorted(circuits.readouts)}"
            )
        seen = _unseen(circuits.readouts["indicator"])
    on = _on(circuits, first)
    on = on if w.ndim == 4 else on.transpose(0, 1).flatten(1, 2)
    wide = torch.promote_types(w.dtype, torch.float32)  # torch has no norms in half precision
    norms = torch.linalg.matrix_norm(
        (w.unsqueeze(-3) * on.unsqueeze(-1)).to(wide) @ seen.to(wide), ord=2
    )
    gain, circuit, layer = _worst(norms, largest=True)
    space = "errors that keep the indicator" if keep_indicator else "all errors"
    slack = max(1e-5, 4 * torch.finfo(w.dtype).eps)  # rounding of an exact rotation
    told = f"amplification of {space}"
    return Finding("5'", gain <= 1 + slack, gain, told, circuit, layer + first - 1)


def weights_are_uncorrelated(circuits: SmallCircuits) -> Finding:
    """The older assumption 4: E_{t != u} <w_t, w_u> / E_t |w_t|^2 is 0 within chance.

    For independent entries of mean 0 the average over the T (T-1) / 2 pairs has a standard error of
    at most sqrt(2 / (T (T-1))); up to three of these count as chance. Names the circuit most
    correlated with the others.

    >>> import cisp
    >>> found = weights_are_uncorrelated(cisp.conditional_rotations(T=6))
    >>> found.holds, round(found.margin, 2)
    (False, 0.81)
    """
    instance("circuits", circuits, SmallCircuits)
    T, others = circuits.T, max(circuits.T - 1, 1)  # a single circuit has nothing to correlate with
    v = circuits.w.flatten(-2).cpu().double()
    energy = v.square().sum(-1)
    each = ((v @ v.sum(-2).unsqueeze(-1)).squeeze(-1) - energy) / others
    layers = each.mean(-1, keepdim=True) / energy.mean(-1, keepdim=True)
    worst, _, layer = _worst(layers.abs().unsqueeze(-1), largest=True)
    circuit = int((each if each.ndim == 1 else each[layer - 1]).abs().argmax())
    chance = min(3 * (2 / (T * others)) ** 0.5, 0.5)  # a few circuits are no evidence of chance
    return Finding(
        "old 4", worst <= chance, worst, "correlation of two circuits' weights", circuit, layer
    )


def leaks_are_silenced(circuits: SmallCircuits) -> Finding:
    """C14.2 for any extrinsic network: the largest Delta w_t a_v of two circuits, over the bias.

    A position outside v hears at most S - 1 circuits that meet v, at 1/(S-1) of this each, where
    two groups of a table do not meet twice (a transversal design of at most q^2 circuits). So up to
    1 it is silent in any such network; above, `superpose_extrinsic` looks at the one at hand.

    >>> import cisp
    >>> for bias in (1, 2, 3):
    ...     found = leaks_are_silenced(cisp.conditional_rotations(T=6, bias=bias))
    ...     print(bias, found.holds, round(found.margin, 2))
    1 False 1.25
    2 True 0.63
    3 True 0.42
    """
    instance("circuits", circuits, SmallCircuits)
    known = affine_states(circuits)
    states = drawn_states(circuits, np.random.default_rng(0)) if known is None else known
    pushes = []
    for layer, X in enumerate(states, 2):
        w, b = circuits.at(layer)
        own = (w - w.mean(0)).cpu().double()
        most = bound(own, X, known is not None).clamp(min=0)
        pushes.append(torch.where(most > TINY, most / b.clamp(max=0).abs().cpu().double(), 0))
    none = circuits.w.new_zeros(1, circuits.T, 1)
    push, circuit, layer = _worst(torch.stack(pushes) if pushes else none, largest=True)
    told = "most that a circuit's own part sends a stranger, in units of its bias"
    return Finding("C14.2", push <= 1, push, told, circuit, layer + 1)


def _noisy(circuits: SmallCircuits) -> tuple[Tensor, Tensor, int]:
    """The weights and biases that meet noise, and the first layer that has them."""
    w, b = circuits.w, circuits.b
    if circuits.L == 1 or (w.ndim == 3 and b.ndim == 1):
        return w, b, 1
    return w[1:] if w.ndim == 4 else w, b[1:] if b.ndim == 2 else b, 2


def _on(circuits: SmallCircuits, first: int) -> Bool[Tensor, "layers T inputs d"]:
    """Which neurons are on from layer `first` on, for some of the circuits' own inputs."""
    each = -(-TRIED // circuits.T)
    active = torch.arange(circuits.T, device=circuits.w.device).repeat(each).unsqueeze(1)
    a0 = circuits.sample_inputs(batch=len(active), z=1, rng=0, active=active)
    on = circuits.run(a0, active)[first:, :, 0] > 0
    return on.unflatten(1, (each, circuits.T)).transpose(1, 2)


def _worst(values: Float[Tensor, "*layers t k"], *, largest: bool) -> tuple[float, int, int]:
    """The extreme of values, the circuit and the layer (1..L) that have it.

    Of circuits that agree to six decimals the first is named, so that rounding does not choose.
    """
    full = values if values.ndim == 3 else values.unsqueeze(0)
    key = (full if largest else -full).round(decimals=6)
    layer, circuit, _ = (int(k) for k in torch.unravel_index(key.argmax(), key.shape))
    return float(full.max() if largest else full.min()), circuit, layer + 1


def _unseen(matrix: Float[Tensor, "*T k d"]) -> Float[Tensor, "d m"]:
    """An orthonormal basis, as columns, of the errors that a read-out does not see."""
    matrix = matrix.reshape(-1, matrix.shape[-1])
    unread = ~matrix.ne(0).any(0)
    if bool(unread.any()):
        return unit(len(unread), matrix)[:, unread]
    _, singular, vh = torch.linalg.svd(matrix.cpu().double())
    rank = int((singular > 1e-9 * singular.max()).sum())
    return vh[rank:].T.to(matrix)
