"""What is kept of many runs: running sums of errors, worst cases, and the tables made of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cisp.awake import ON, Found
from cisp.inputs import unit
from cisp.network import Network


@dataclass(frozen=True, eq=False)
class Measurement:
    """Error statistics of a network over many inputs, as tidy tables.

    errors: z, layer, quantity, circuits ("active" or "inactive"), mse (mean squared norm of
        estimate minus truth, 4.1 and 4.2), mse_stderr (its standard error, from one seed of the
        inputs to another: with every active set run once it is that of their a^0 alone), worst
        (largest norm over circuits and inputs), samples (inputs), worst_circuit, worst_active,
        worst_a0: the circuit, and the input (active circuits and their a^0) that gave the worst.
    activity: z, layer, block, fraction of the block's neurons above 1e-4.
    circuits: z, layer, quantity, circuit, mse, samples: each circuit where it is active.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> found = cisp.measure(network, z=1)
    >>> found.activity.columns.tolist()
    ['z', 'layer', 'block', 'fraction']
    """

    errors: pd.DataFrame
    activity: pd.DataFrame
    circuits: pd.DataFrame


class Tally:
    """Running float64 sums of what `measure` reports; axes (layer, quantity, active or not).

    Kept on the CPU, as not every device has float64.
    """

    def __init__(self, network: Network, z: int) -> None:
        self.z, self.T, self.S, self.n = z, network.T, network.S, network.n
        readouts = network.circuits.readouts or {"activations": unit(network.d, network.w)}
        self.names = list(readouts)
        kind = torch.promote_types(network.w.dtype, torch.float32)
        own = any(m.ndim == 3 for m in readouts.values())
        full = [m.expand(self.T, -1, -1) if own else m for m in readouts.values()]
        self.maps = torch.cat(full, -2).to(network.w.device, kind)  # one matrix, or one for each
        ends = np.cumsum([m.shape[-2] for m in full]).tolist()
        self.rows = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        shape = (network.L, len(self.names), 2)
        self.samples = 0
        self.sums, self.squares, self.within = torch.zeros(
            3, *shape, dtype=torch.float64, device="cpu"
        )
        self.pairs = 0
        self.worst = np.full(shape, -1.0)
        self.where: dict[tuple[int, int, int], tuple[int, Tensor, Tensor]] = {}
        self.on = self.sums.new_zeros(network.L, network.d)
        self.each = self.sums.new_zeros(network.L, len(self.names), network.T)
        self.times = self.sums.new_zeros(network.T)

    def add(
        self,
        stream: Iterator[tuple[Tensor, Tensor]],
        a: Float[Tensor, "layers batch z d"],
        active: Int[Tensor, "batch z"],
        a0: Float[Tensor, "batch z d"],
    ) -> Float[Tensor, "layers quantities 2 batch"]:
        """Take in one batch: what `Network.stream` yields, and the oracle's a^1..a^L.

        Returns the squared errors of each input, averaged over its active or inactive circuits.
        """
        inputs = torch.arange(len(active), device=active.device).unsqueeze(1)
        on, picked, totals, kind = [], [], [], self.maps.dtype
        for layer, (A, gathered) in enumerate(stream):
            on.append(torch.gt(A, ON, out=torch.empty_like(A, dtype=kind)).sum(2).sum(0))
            read = self.maps @ gathered.to(kind)  # T k batch
            picked.append(read[active, :, inputs])
            read[active, :, inputs] = 0.0
            totals.append(read.square_().sum(0))
            for q, rows in enumerate(self.rows):
                of_others = sum(read[:, rows].unbind(1)[1:], read[:, rows.start])
                largest = of_others.amax(0)
                top = float(largest.amax()) / self.S**2
                if top > self.worst[layer, q, 1]:
                    at = int(largest.argmax())
                    circuit = int(of_others[:, at].argmax())
                    self._note((layer, q, 1), top, circuit, active[at], a0[at])
        summed = torch.stack(totals).cpu().double()
        of_others = torch.stack([summed[:, rows].sum(1) for rows in self.rows], 1)
        return self._take(torch.stack(on), torch.stack(picked), of_others, a, active, a0)

    def found(
        self,
        found: Found,
        a: Float[Tensor, "layers batch z d"],
        active: Int[Tensor, "batch z"],
        a0: Float[Tensor, "batch z d"],
    ) -> Float[Tensor, "layers quantities 2 batch"]:
        """What `add` takes in and returns, of a batch that was run by `cisp.awake`."""
        for (layer, q), top in np.ndenumerate(found.tops.max(-1).astype(float) / self.S**2):
            if top > self.worst[layer, q, 1]:
                at = int(found.tops[layer, q].argmax())
                self._note((layer, q, 1), top, int(found.who[layer, q, at]), active[at], a0[at])
        on, picked, totals = map(torch.from_numpy, (found.on, found.picked, found.totals))
        return self._take(on, picked, totals, a, active, a0)

    def _take(
        self,
        on: Tensor,
        picked: Float[Tensor, "layers batch z k"],
        totals: Float[Tensor, "layers quantities batch"],
        a: Float[Tensor, "layers batch z d"],
        active: Int[Tensor, "batch z"],
        a0: Float[Tensor, "batch z d"],
    ) -> Float[Tensor, "layers quantities 2 batch"]:
        """Take in neurons on, and S times the read-outs: the active ones', the others' squares."""
        squared = (picked / self.S - self._true(a.to(self.maps), active)).square()
        of_active = torch.stack([squared[..., rows].sum(-1) for rows in self.rows], 1).cpu()
        of_others = totals / (self.S**2 * (self.T - self.z))
        per_input = torch.stack([of_active.mean(-1, dtype=torch.float64), of_others], 2)
        self.samples += len(active)
        self.sums += per_input.sum(-1)
        self.squares += per_input.square().sum(-1)
        self.on += on.cpu()
        each, active, a0 = of_active.flatten(2).double(), active.cpu(), a0.cpu()
        self.each.scatter_add_(2, active.flatten().expand_as(each), each)
        self.times += active.flatten().bincount(minlength=self.T)
        for (layer, q), top in np.ndenumerate(of_active.amax((2, 3)).numpy()):
            if top > self.worst[layer, q, 0]:
                at, place = divmod(int(of_active[layer, q].argmax()), self.z)
                self._note((layer, q, 0), float(top), int(active[at, place]), active[at], a0[at])
        return per_input

    def compare(
        self,
        one: Float[Tensor, "layers quantities 2 pairs"],
        other: Float[Tensor, "layers quantities 2 pairs"],
    ) -> None:
        """Take in what two inputs of the same active sets gave: their variance within a set."""
        self.within += (one - other).square().sum(-1) / 2
        self.pairs += one.shape[-1]

    def _true(self, a: Tensor, active: Tensor) -> Float[Tensor, "layers batch z k"]:
        if self.maps.ndim == 2:
            return a @ self.maps.T
        return torch.einsum("bzkd,lbzd->lbzk", self.maps[active], a)

    def _note(
        self, key: tuple[int, int, int], top: float, circuit: int, active: Tensor, a0: Tensor
    ) -> None:
        self.worst[key] = top
        self.where[key] = circuit, active.clone(), a0.clone()

    def merge(self, later: "Tally") -> None:
        """Add the sums of a later part of the same run."""
        for name in ("samples", "sums", "squares", "within", "pairs", "on", "each", "times"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        for key, (circuit, active, a0) in later.where.items():
            if later.worst[key] > self.worst[key]:
                self._note(key, later.worst[key], circuit, active, a0)

    def result(self) -> Measurement:
        """The tables of a finished run."""
        errors, circuits = [], []
        mean = self.sums / self.samples
        if self.pairs:
            stderr = (self.within / self.pairs / self.samples).sqrt()
        else:
            variance = (self.squares / self.samples - mean.square()).clamp(min=0)
            stderr = (variance / (self.samples - 1)).sqrt()  # nan for a single input
        unknown = (
            -1,
            torch.zeros(0, dtype=torch.int64, device="cpu"),
            torch.zeros(0, device="cpu"),
        )  # where errors are nan
        for row, q, k in np.ndindex(*self.worst.shape):
            if k == 1 and self.z == self.T:
                continue  # no circuit is inactive
            fine = not bool(mean[row, q, k].isnan())
            circuit, active, a0 = self.where[row, q, k] if fine else unknown
            errors.append(
                {
                    "z": self.z,
                    "layer": row + 1,
                    "quantity": self.names[q],
                    "circuits": ("active", "inactive")[k],
                    "mse": float(mean[row, q, k]),
                    "mse_stderr": float(stderr[row, q, k]),
                    "worst": float(self.worst[row, q, k] ** 0.5) if fine else float("nan"),
                    "samples": self.samples,
                    "worst_circuit": circuit,
                    "worst_active": tuple(active.tolist()),
                    "worst_a0": a0.to(torch.promote_types(a0.dtype, torch.float32)).cpu().numpy(),
                }
            )
        fraction = (self.on / (self.samples * self.n)).numpy()
        activity = [
            {"z": self.z, "layer": row + 1, "block": block, "fraction": float(value)}
            for (row, block), value in np.ndenumerate(fraction)
        ]
        for row, quantities in enumerate((self.each / self.times).numpy()):
            for name, mse in zip(self.names, quantities, strict=True):
                head = {"z": self.z, "layer": row + 1, "quantity": name}
                times = self.times.numpy()
                tail = {"circuit": range(self.T), "mse": mse, "samples": times.astype(int)}
                circuits.append(pd.DataFrame({**head, **tail}))
        frame = pd.concat(circuits, ignore_index=True)
        return Measurement(pd.DataFrame(errors), pd.DataFrame(activity), frame)
