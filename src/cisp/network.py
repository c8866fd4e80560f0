"""One wide network that computes all circuits: circuits + wiring -> W, B (section 5.4).

Longer than other rooms as it is one object, with every view of it that outside code relies on.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from os import PathLike
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cisp.allocation import random_subsets
from cisp.arguments import count, function, generator, instance, positions, refuse, room
from cisp.channels import Channels, Heard
from cisp.circuits import SmallCircuits, circuits_of
from cisp.files import check_digest, read, refused, write
from cisp.inputs import Inputs, Seed, finite, unit
from cisp.layers import Layer, Own
from cisp.shapes import check_inputs, check_tensor
from cisp.wiring import Dealt, Extrinsic

Wiring = Dealt | Extrinsic | Channels
WIRINGS: dict[str, type[Wiring]] = {kind.FORMAT: kind for kind in (Dealt, Extrinsic, Channels)}


Patch = Mapping[int, Callable[[Tensor], Tensor]]

SIZES = ("T", "D", "S", "L")

LAW = ("w", "b", "theta", "input_mean", "input_map", "inputs")  # beside read-outs


class Network(nn.Module):
    """The superposed network A^l = ReLU(W^l A^{l-1} + B^l) of width D: circuits and their wiring.

    Equation 5.17. Activations keep their block axis: (..., d, n) with n = D/d, neuron (i, p) of
    the flat network being i n + p (5.14). W^l is w_mean (x) W_emb and the circuits' own parts
    (5.20), as the wiring lays them out. The forward pass never builds it: positions are gathered,
    multiplied by d x d matrices and scattered. In half precision its gradients are rounded once
    more than those of `to_dense`, for each sum that a position is in, and up to twice as far off.

    layers: the L ReLUs. layers[l-1] is called on W^l A^{l-1} + B^l (batch, d, n) and gives A^l, so
    a forward hook on it sees A^l, and what the hook returns goes on.

    w_mean: (d, d) or (L, d, d), the mean split off in 5.20; the sample mean of 5.18 unless given.

    The circuits run for as many layers as the wiring has.

    Raises ValueError if they have fewer, if T differs, or if w_mean has another shape.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> tuple(network.W(2).shape)
    (48, 48)
    >>> network.to_dense()[0]
    Linear(in_features=48, out_features=48, bias=True)
    """

    wiring: Wiring
    w: Tensor
    b: Tensor
    w_mean: Tensor
    theta: Tensor | None
    input_mean: Tensor
    input_map: Tensor
    inputs: Inputs | None

    def __init__(
        self, circuits: SmallCircuits, wiring: Wiring, w_mean: Tensor | None = None
    ) -> None:
        super().__init__()
        instance("circuits", circuits, SmallCircuits)
        instance("wiring", wiring, *WIRINGS.values())
        self.L, self.T, self.S = wiring.tables.shape
        self.d, self.n, self.D = circuits.d, wiring.n, circuits.d * wiring.n
        if circuits.T != self.T:
            raise ValueError(
                f"circuits have T={circuits.T}, but the wiring has T={self.T}; they must agree"
            )
        circuits = circuits if circuits.L == self.L else circuits.with_layers(self.L)
        self._circuits = circuits
        self.layers = nn.ModuleList(nn.ReLU() for _ in range(self.L))
        self.wiring = deepcopy(wiring).to(circuits.w.device)
        self.register_buffer("w_mean", _mean_of(circuits, w_mean))
        if isinstance(wiring, Channels):
            wiring.check(circuits, self.w_mean)
        for name in LAW:
            _keep(self, name, getattr(circuits, name))
        for k, matrix in enumerate(circuits.readouts.values()):
            self.register_buffer(f"readout_{k}", matrix)

    @property
    def circuits(self) -> SmallCircuits:
        """The circuits that the network computes, in its dtype and on its device.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> network.circuits
        SmallCircuits(T=6, d=4, L=2, read-outs: indicator (1), rotation (2), float32)
        """
        own = {name: getattr(self, name) for name in LAW}
        if any(getattr(self._circuits, name) is not value for name, value in own.items()):
            readouts = {
                name: getattr(self, f"readout_{k}")
                for k, name in enumerate(self._circuits.readouts)
            }
            self._circuits = SmallCircuits(**own, readouts=readouts, L=self.L)
        return self._circuits

    @property
    def tables(self) -> Int[Tensor, "L T S"]:
        """The positions of each circuit, row l-1 for layer l.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> network.tables[0, 3].tolist()  # of circuit 3 in layer 1
        [8, 9]
        """
        return self.wiring.tables

    @property
    def chi(self) -> Float[Tensor, "L *d"]:
        """chi of each layer's embedding matrix (5.24), chi[0] unused; 0 where there is none.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=12), D=48, S=2, L=2)
        >>> round(network.chi[1].item(), 2)
        0.17
        """
        return self.wiring.chi

    def at(self, layer: int) -> tuple[Float[Tensor, "T d d"], Float[Tensor, " d"]]:
        """The circuits' weights w^l and bias b^l in layer 1..L.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> [tuple(x.shape) for x in network.at(layer=2)]
        [(6, 4, 4), (4,)]
        """
        row = count("layer", layer, high=self.L) - 1
        w, b = self.w, self.b
        return w if w.ndim == 3 else w[row], b if b.ndim == 1 else b[row]

    def sample(
        self, *, batch: int, z: int, rng: Seed = 0
    ) -> tuple[Int[Tensor, "batch z"], Float[Tensor, "batch z d"]]:
        """Random active circuits, z of T without replacement, and their inputs (active, a0).

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> active, a0 = network.sample(batch=4, z=2, rng=0)
        >>> active.tolist(), tuple(a0.shape)
        ([[1, 4], [0, 3], [0, 2], [0, 1]], (4, 2, 4))
        """
        rng = generator(rng)
        count("batch", batch), count("z", z, high=self.T)
        room("batch", batch, 4 * batch * z * self.d)
        active = torch.from_numpy(random_subsets(T=batch, n=self.T, S=z, rng=rng))
        active = active.to(self.tables.device)
        return active, self.circuits.sample_inputs(batch=batch, z=z, rng=rng, active=active)

    def embed(
        self, a0: Float[Tensor, "batch z d"], active: Int[Tensor, "batch z"]
    ) -> Float[Tensor, "batch d n"]:
        """The network's input A^0 = sum_t w_t^1 a_t^0 |e_t^1> over the active circuits (5.25)."""
        check_inputs(a0, active, T=self.T, d=self.d, dtype=self.w.dtype)
        values = torch.einsum("bzij,bzj->bzi", self.at(1)[0][active], a0)
        values = values.permute(1, 2, 0).repeat_interleave(self.S, 0)  # (z S, d, batch)
        positions = self.tables[0][active].flatten(1).T.unsqueeze(1).expand_as(values)
        A0 = a0.new_zeros(self.n, self.d, len(a0)).scatter_add_(0, positions, values)
        return A0.permute(2, 1, 0)

    def forward(
        self, A0: Float[Tensor, "batch d n"], patch: Patch | None = None
    ) -> Float[Tensor, "layers batch d n"]:
        """All activations A^0..A^L; A^0 is the input before bias and ReLU (5.17, 5.26, 5.27).

        patch: for any of the layers 1..L a function of its A^l (batch, d, n); what it returns goes
        on instead.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> active, a0 = network.sample(batch=4, z=1)
        >>> A0 = network.embed(a0, active)
        >>> off = network(A0, patch={1: torch.zeros_like})  # layer 1 silenced
        >>> bool(network(A0)[2].any()), bool(off[2].any())
        (True, False)
        """
        self._check("A0", A0)
        first = A0.permute(2, 1, 0)
        return torch.stack([first, *(A for A, _ in self.stream(first, patch))]).permute(0, 3, 2, 1)

    def stream(
        self, A0: Float[Tensor, "n d batch"], patch: Patch | None = None
    ) -> Iterator[tuple[Float[Tensor, "n d batch"], Float[Tensor, "T d batch"]]]:
        """A^l and S a_hat_t^l (in linear read-outs <e_t^l|A^l>), positions first and batch last.

        The layout in which gathers and scatters are fastest; nothing older than one layer is held.
        `patch` as in `forward`.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> active, a0 = network.sample(batch=4, z=1)
        >>> A0 = network.embed(a0, active).permute(2, 1, 0)
        >>> [(tuple(A.shape), tuple(read.shape)) for A, read in network.stream(A0)]
        [((12, 4, 4), (6, 4, 4)), ((12, 4, 4), (6, 4, 4))]
        """
        check_tensor("A0", A0, (self.n, self.d, "batch"), self.w.dtype, of="the network's ")
        gathered, patch = A0, self._checked(patch)
        for layer, relu in enumerate(self.layers, 1):
            w, b = self.at(layer)
            U = A0 if layer == 1 else self._layer(layer)(gathered, w, *self._shared(layer))
            A = relu((U + b[:, None]).permute(2, 1, 0))
            if layer in patch:
                A = patch[layer](A)
                shape = A0.shape[2], self.d, self.n
                check_tensor(f"patch[{layer}](A)", A, shape, self.w.dtype, of="the network's ")
            A = A.permute(2, 1, 0)
            gathered = self._gather(layer)(A)
            yield A, self.wiring.read(A, gathered, layer)

    def read(
        self, activations: Iterable[Float[Tensor, "n d batch"]]
    ) -> Iterator[tuple[Float[Tensor, "n d batch"], Float[Tensor, "T d batch"]]]:
        """What `stream` yields, for activations A^1..A^L that another model gave.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> A = network.to_dense(activations=True)(torch.ones(4, 48))[1:]
        >>> A = network.blocks(A).permute(0, 3, 2, 1)  # layers n d batch
        >>> [tuple(read.shape) for _, read in network.read(A)]
        [(6, 4, 4), (6, 4, 4)]
        """
        for layer, A in enumerate(activations, 1):
            yield A, self.wiring.read(A, self._gather(layer)(A), layer)

    def readout(
        self, A: Float[Tensor, "*layers batch d n"] | Float[Tensor, "*layers batch D"], layer: int
    ) -> Float[Tensor, "batch T d"]:
        """The estimates a_hat_t^l of every circuit's activations, <e_t^l|A^l> / S (5.30).

        Where the wiring is `Channels`, what a position that the circuit has for itself holds.

        A is the whole result of a forward pass, or the activations (batch, d, n) of that layer;
        either may be flat, (..., D), as a dense model gives it.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> active, a0 = network.sample(batch=4, z=1)
        >>> A = network(network.embed(a0, active))
        >>> tuple(network.readout(A, layer=2).shape)  # batch T d
        (4, 6, 4)
        """
        count("layer", layer, high=self.L)
        check_tensor("A", A, None, None)
        A = self.blocks(A)
        if A.ndim == 4 and len(A) != self.L + 1:
            raise ValueError(f"A has {len(A)} layers; it must have {self.L + 1}, 0 to {self.L}")
        A = A[layer] if A.ndim == 4 else A
        self._check("A", A)
        A = A.permute(2, 1, 0)
        return self.wiring.read(A, self._gather(layer)(A), layer).permute(2, 0, 1) / self.S

    def W_emb(self, layer: int) -> Float[Tensor, "*d n n"]:
        """The dense embedding matrix of layer 2..L (5.23); by block where chi differs by block.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> tuple(network.W_emb(2).shape), network.W_emb(2).max().item()  # n n; 1/S
        ((12, 12), 0.5)
        """
        count("layer", layer, low=2, high=self.L)
        room("n", self.n, self.n**2)
        W_emb = self._layer(layer).W_emb(self._shared(layer)[1]).to(self.w)
        return W_emb[0] if len(W_emb) == 1 else W_emb

    def W(self, layer: int) -> Float[Tensor, "D D"]:
        """The dense weights W^l of layer 1..L, blocks stacked as in 5.14 (5.20; W^1 = I, 5.26)."""
        room("D", self.D, self.D**2)
        if count("layer", layer, high=self.L) == 1:
            return unit(self.D, self.w)
        return self._layer(layer).W(self.at(layer)[0], *self._shared(layer))

    def B(self, layer: int) -> Float[Tensor, " D"]:
        """The bias |B^l> = b^l |1>: each block's own constant (5.28).

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> network.B(2).unique().tolist()
        [-1.5, -1.0, -0.5]
        """
        return self.at(layer)[1].repeat_interleave(self.n)

    def shared(self, layer: int) -> Float[Tensor, "D D"]:
        """What W(layer) holds beyond the circuits' own parts: w_mean (x) W_emb, or I in layer 1."""
        room("D", self.D, self.D**2)
        if count("layer", layer, high=self.L) == 1:
            return unit(self.D, self.w)
        W_emb = self.W_emb(layer).expand(self.d, -1, -1)
        return torch.einsum("ij,ipq->ipjq", self.mean(layer), W_emb).reshape(self.D, self.D)

    def component(self, layer: int, t: int) -> Float[Tensor, "D D"]:
        """Circuit t's own part of W(layer), its Delta w_t on the entries that the wiring gives it.

        In the post's wiring (1/S) Delta w_t (x) |e_t^l><e_t^{l-1}| (5.20), in the extrinsic one
        Delta w_t/(S-1) (x) (|e_t><e_t| - diag e_t), in `Channels` what the circuit's positions hear
        of each other. W(layer) = shared(layer) + the sum of all
        components. In layer 1 a circuit has no part, W being the identity: its first weights are
        applied by `embed`.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> parts = sum(network.component(2, t) for t in range(6))
        >>> bool((network.shared(2) + parts - network.W(2)).abs().max() < 1e-5)
        True
        """
        count("layer", layer, high=self.L), count("t", t, low=0, high=self.T - 1)
        room("D", self.D, self.D**2)
        part = self.w.new_zeros(self.d, self.n, self.d, self.n)
        if layer > 1:
            rows, columns, own = self.own(layer, t)
            part[:, rows.unsqueeze(1), :, columns] = own
        return part.reshape(self.D, self.D)

    def own(self, layer: int, t: int) -> Own:
        """Circuit t's component of layer 2..L where it is not 0.

        Its positions in this layer (r,) and in the one before (c,), and for each pair of them the
        weights between their neurons (r, c, d, d).

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> rows, columns, part = network.own(2, t=3)
        >>> len(rows), len(columns), tuple(part.shape)
        (2, 2, (2, 2, 4, 4))
        """
        count("layer", layer, low=2, high=self.L), count("t", t, low=0, high=self.T - 1)
        delta_w = self.at(layer)[0][t] - self.mean(layer)
        return self._layer(layer).own(t, delta_w, self._shared(layer)[1])

    def to_dense(self, *, activations: bool = False) -> nn.Sequential:
        """The same function as plain Linear and ReLU layers: A^0 (batch, D) -> A^L (batch, D).

        activations: give A^0..A^L (layers, batch, D) instead.
        """
        modules: list[nn.Module] = []
        for layer in range(1, self.L + 1):
            linear = nn.Linear(self.D, self.D, device="meta")
            linear.weight, linear.bias = nn.Parameter(self.W(layer)), nn.Parameter(self.B(layer))
            modules += [linear, nn.ReLU()]
        return (_Observed if activations else nn.Sequential)(*modules)

    def trainable(self) -> "Network":
        """A copy with the parameters w, b and w_mean, for an optimizer or for pruning.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> [name for name, _ in network.trainable().named_parameters()]
        ['w', 'b', 'w_mean']
        """
        copy = deepcopy(self)
        for name in ("w", "b", "w_mean"):
            value = getattr(copy, name)
            delattr(copy, name)
            copy.register_parameter(name, nn.Parameter(value))
        return copy

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a safetensors file, to be read by `Network.load`."""
        if callable(self.inputs):
            raise ValueError("inputs is a function, which no file can hold; give samples instead")
        about = {
            "format": self.wiring.FORMAT,
            **{name: getattr(self, name) for name in SIZES},
            "readouts": list(self._circuits.readouts),
        }
        own = {k.removeprefix("wiring."): v for k, v in self.state_dict().items()}
        write(path, own, about)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Network":
        """The network written by `save`, bit for bit. Raises ValueError for any other file.

        >>> import cisp, tempfile
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     network.save(f"{folder}/six.safetensors")
        ...     torch.equal(Network.load(f"{folder}/six.safetensors").W(2), network.W(2))
        True
        """
        parts = {name: ("w_mean", *kind.FACTS) for name, kind in WIRINGS.items()}
        tensors, about = read(path, parts, what="network", size="D")
        with refused(path, "network"):
            kind = WIRINGS[about["format"]]
            facts = [tensors[name] for name in kind.FACTS]
            circuits = circuits_of(tensors, about["readouts"], len(tensors["tables"]))
            wiring = kind(*facts, n=positions(about["D"], circuits.d))
            network = cls(circuits, wiring, tensors["w_mean"])
            for name in SIZES:
                if about.get(name, getattr(network, name)) != getattr(network, name):
                    raise ValueError(
                        f"{name}={about[name]} is written, but it holds {getattr(network, name)}"
                    )
            check_digest(tensors, about)
        return network

    def _check(self, name: str, A: Tensor) -> None:
        check_tensor(name, A, ("batch", self.d, self.n), self.w.dtype, of="the network's ")

    def _checked(self, patch: Patch | None) -> Patch:
        if not isinstance(patch, Mapping | None):
            refuse("patch", patch, f"a function for any of the layers 1..{self.L}")
        for layer, change in (patch or {}).items():
            count("patch's layer", layer, high=self.L)
            function(f"patch[{layer}]", change)
        return patch or {}

    def blocks(self, A: Tensor) -> Tensor:
        """Activations with their block axis, (..., d, n).

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> tuple(network.blocks(torch.zeros(4, 48)).shape)
        (4, 4, 12)
        """
        flat = A.shape[-2:] != (self.d, self.n) and A.shape[-1:] == (self.D,)
        return A.unflatten(-1, (self.d, self.n)) if flat else A

    def _layer(self, layer: int) -> Layer | Heard:
        found = self.wiring.layers[layer - 2]
        assert isinstance(found, Layer | Heard)
        return found

    def _shared(self, layer: int) -> tuple[Tensor, Any]:
        return self.mean(layer), self.wiring.facts(layer)

    def _gather(self, layer: int) -> nn.Module:
        """What sums up layer 1..L: for the layer after it, or to be read alone."""
        return self._layer(layer + 1).gather if layer < self.L else self.wiring.last

    def mean(self, layer: int) -> Float[Tensor, "d d"]:
        """The mean weights split off in layer 1..L (5.20).

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> torch.equal(network.mean(2), network.circuits.w_mean)
        True
        """
        count("layer", layer, high=self.L)
        return self.w_mean if self.w_mean.ndim == 2 else self.w_mean[layer - 1]


class _Observed(nn.Sequential):
    """Linear and ReLU layers that give their input and what follows each ReLU."""

    def forward(self, A0: Float[Tensor, "batch D"]) -> Float[Tensor, "layers batch D"]:
        after = [A0]
        for module in self:
            after.append(module(after[-1]))
        return torch.stack(after[::2])


def _keep(network: nn.Module, name: str, value: object) -> None:
    """A buffer, or an attribute if it is a function."""
    if callable(value):
        setattr(network, name, value)
    else:
        network.register_buffer(name, value)  # type: ignore[arg-type]  # a tensor or None


def _mean_of(circuits: SmallCircuits, w_mean: Tensor | None) -> Float[Tensor, "*layers d d"]:
    """The given mean weights, checked, or the circuits' sample mean (5.18)."""
    w_mean = circuits.w_mean if w_mean is None else finite("w_mean", w_mean, circuits.w)
    d = circuits.d
    if w_mean.shape not in ((d, d), (circuits.L, d, d)):
        raise ValueError(
            f"w_mean has shape {tuple(w_mean.shape)}; "
            f"it must be ({d}, {d}) or ({circuits.L}, {d}, {d})"
        )
    return w_mean
