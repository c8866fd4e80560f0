"""The post's assumptions about the small circuits as executable checks (section 5.2)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cisp.arguments import count
from cisp.circuits import SmallCircuits


@dataclass(frozen=True)
class Finding:
    """Whether one assumption holds, by what margin, and where the margin was found.

    `margin` is the number that `measure` describes. `circuit` and `layer` name the worst one, None
    where the assumption is about all of them together.
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
    """Findings on assumptions 1, 2, 3, 4', 5' and the older 4, in this order.

    1: few circuits are active. 2: inactive circuits ignore noise. 3: they are at zero. 4': one bias
    for all. 5': active circuits do not amplify noise. The older 4, uncorrelated weights, is only
    reported: it need not hold, and for rotations it does not.

    5' is judged where the theory needs it, on errors that leave the On-indicator alone; for
    circuits without an "indicator" read-out, on all errors.
    """
    return [
        few_are_active(circuits, D=D, z=z),
        inactive_ignore_noise(circuits),
        inactive_stay_zero(circuits),
        biases_agree(circuits.b.unsqueeze(-2).expand(*circuits.b.shape[:-1], circuits.T, -1)),
        noise_is_not_amplified(circuits, keep_indicator="indicator" in circuits.readouts),
        weights_are_uncorrelated(circuits),
    ]


def few_are_active(circuits: SmallCircuits, *, D: int, z: int) -> Finding:
    """Assumption 1: z << D/d. Reports z d/D and takes "much less" to mean at most a tenth."""
    share = count("z", z) * circuits.d / count("D", D)
    return Finding("1", share <= 0.1, share, "active circuits per position, z d/D")


def inactive_ignore_noise(circuits: SmallCircuits) -> Finding:
    """Assumption 2 (5.9): the largest eps such that |da| <= eps gives ReLU(w da + b) = 0.

    Neuron i stays off for all such da exactly if eps |w_i| <= -b_i, with w_i its row of weights.
    """
    rows, bias = circuits.w.norm(dim=-1), circuits.b.unsqueeze(-2)
    idle = (rows == 0) & (bias <= 0)
    eps, circuit, layer = _worst(torch.where(idle, torch.inf, -bias / rows), largest=False)
    return Finding(
        "2", eps > 0, eps, "largest harmless noise on an inactive circuit, eps", circuit, layer
    )


def inactive_stay_zero(circuits: SmallCircuits) -> Finding:
    """Assumption 3: an inactive circuit has all activations 0. Its margin is the least of -b.

    From a = 0 the next activations are ReLU(b), which is 0 exactly if no bias is positive.
    """
    margin = float(-circuits.b.max())
    return Finding(
        "3", margin >= 0, margin, "least -b, distance of a resting neuron from switching on"
    )


def biases_agree(b: Float[Tensor, "*layers t d"]) -> Finding:
    """Assumption 4': one bias vector for all circuits of a layer.

    Takes a bias for each circuit, as circuits come before they are made to agree; `SmallCircuits`
    holds one for all and so always passes. Biases of one sign can be made to agree by rescaling.
    """
    if b.ndim not in (2, 3):
        raise ValueError(f"b has shape {tuple(b.shape)}; it must be (T, d) or (L, T, d)")
    gap, circuit, layer = _worst((b - b.narrow(-2, 0, 1)).abs(), largest=True)
    return Finding(
        "4'", gap == 0, gap, "largest difference of a bias from circuit 0's", circuit, layer
    )


def noise_is_not_amplified(circuits: SmallCircuits, *, keep_indicator: bool) -> Finding:
    """Assumption 5' (5.10): the largest |da^l| / |da^{l-1}| for a small error on an active circuit.

    A ReLU never lengthens a difference, so this is at most the spectral norm of w_t, and equals it
    where all neurons of the circuit are on. With keep_indicator only errors are considered that the
    "indicator" read-out does not see. The post compares errors relative to |a|, which
    changes from layer to layer (for the rotations by up to a factor of 1.77); these are absolute.
    """
    w = circuits.w
    if keep_indicator:
        if "indicator" not in circuits.readouts:
            raise ValueError(
                f"keep_indicator=True needs a read-out named 'indicator'; "
                f"these circuits have {sorted(circuits.readouts)}"
            )
        w = w @ _kernel(circuits.readouts["indicator"])
    gain, circuit, layer = _worst(torch.linalg.matrix_norm(w, ord=2).unsqueeze(-1), largest=True)
    space = "errors that keep the indicator" if keep_indicator else "all errors"
    slack = 1e-5  # float32 rounding of an exact rotation
    return Finding("5'", gain <= 1 + slack, gain, f"amplification of {space}", circuit, layer)


def weights_are_uncorrelated(circuits: SmallCircuits) -> Finding:
    """The older assumption 4: E_{t != u} <w_t, w_u> / E_t |w_t|^2 is 0 within chance.

    For independent entries of mean 0 the average over the T (T-1) / 2 pairs has a standard error of
    at most sqrt(2 / (T (T-1))); up to three of these count as chance. Names the circuit most
    correlated with the others.
    """
    T, others = circuits.T, max(circuits.T - 1, 1)  # a single circuit has nothing to correlate with
    v = circuits.w.flatten(-2).double()
    energy = v.square().sum(-1)
    each = ((v @ v.sum(-2).unsqueeze(-1)).squeeze(-1) - energy) / others
    layers = each.mean(-1, keepdim=True) / energy.mean(-1, keepdim=True)
    worst, _, layer = _worst(layers.abs().unsqueeze(-1), largest=True)
    circuit = int((each if each.ndim == 1 else each[layer - 1]).abs().argmax())
    chance = min(3 * (2 / (T * others)) ** 0.5, 0.5)  # a few circuits are no evidence of chance
    return Finding(
        "old 4", worst <= chance, worst, "correlation of two circuits' weights", circuit, layer
    )


def _worst(values: Float[Tensor, "*layers t k"], *, largest: bool) -> tuple[float, int, int]:
    """The extreme of values, the circuit and the layer (1..L) that have it.

    Of circuits that agree to six decimals the first is named, so that rounding does not choose.
    """
    full = values if values.ndim == 3 else values.unsqueeze(0)
    key = (full if largest else -full).round(decimals=6)
    layer, circuit, _ = (int(k) for k in torch.unravel_index(key.argmax(), key.shape))
    return float(full.max() if largest else full.min()), circuit, layer + 1


def _kernel(matrix: Float[Tensor, "k d"]) -> Float[Tensor, "d m"]:
    """An orthonormal basis, as columns, of the vectors that matrix maps to 0."""
    _, singular, vh = torch.linalg.svd(matrix.double())
    rank = int((singular > 1e-9 * singular.max()).sum())
    return vh[rank:].T.to(matrix)
