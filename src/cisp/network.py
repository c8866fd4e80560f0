"""One wide network that computes all circuits: circuits + allocation -> W, B (section 5.4)."""

import json
from collections.abc import Callable, Iterator
from os import PathLike

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from cisp.allocation import Table, check_table, prime_steps, random_subsets
from cisp.arguments import count
from cisp.circuits import Seed, SmallCircuits, check_inputs, finite


def superpose(
    circuits: SmallCircuits,
    *,
    D: int,
    S: int,
    L: int | None = None,
    rng: Seed = 0,
    allocate: Callable[..., Table] = prime_steps,
    w_mean: Tensor | None = None,
    max_overlap: int | float = 1,
) -> "Network":
    """The network of width D that computes all circuits, each neuron spread over S positions.

    Section 5.4. `allocate(T=, n=, S=)` gives a table of positions with n = D/d; each layer deals
    the circuits over it afresh. chi balances each layer's embedding matrix (5.24). w_mean is the
    mean split off in 5.20: the sample mean of 5.18 unless given (the post's code gives the mean
    over all angles).

    Raises ValueError if d does not divide D, if S > n, if the allocation cannot place T circuits or
    lets two of them share more than max_overlap positions, or if no chi balances a layer.

    >>> from cisp import conditional_rotations
    >>> network = superpose(conditional_rotations(T=20), D=100, S=3, L=2)
    >>> tuple(network.W(2).shape)
    (100, 100)
    """
    T = circuits.T
    circuits = circuits.with_layers(circuits.L if L is None else L)
    n, table = place(circuits, D=D, S=S, allocate=allocate, max_overlap=max_overlap)
    rng = np.random.default_rng(rng)
    tables = np.stack([table[rng.permutation(T)] for _ in range(circuits.L)])
    balances = [0.0] + [_balance(tables[k], tables[k - 1], n) for k in range(1, circuits.L)]
    chi = torch.tensor(balances, dtype=torch.float64)
    return Network(circuits, torch.from_numpy(tables), chi, mean_of(circuits, w_mean), D=D)


def place(
    circuits: SmallCircuits,
    *,
    D: int,
    S: int,
    allocate: Callable[..., Table],
    max_overlap: int | float,
) -> tuple[int, Table]:
    """n = D/d and the allocation's table, checked."""
    T, n = circuits.T, _positions(D, circuits.d)
    table = check_table(allocate(T=T, n=n, S=count("S", S, high=n)), n=n, max_overlap=max_overlap)
    if table.shape != (T, S):
        raise ValueError(f"allocate gave a table of shape {table.shape}; it must be ({T}, {S})")
    return n, table


def mean_of(circuits: SmallCircuits, w_mean: Tensor | None) -> Float[Tensor, "*layers d d"]:
    """The given mean weights, checked, or the circuits' sample mean (5.18)."""
    w_mean = circuits.w_mean if w_mean is None else finite("w_mean", w_mean).to(circuits.w)
    d = circuits.d
    if w_mean.shape not in ((d, d), (circuits.L, d, d)):
        raise ValueError(
            f"w_mean has shape {tuple(w_mean.shape)}; "
            f"it must be ({d}, {d}) or ({circuits.L}, {d}, {d})"
        )
    return w_mean


class Network(nn.Module):
    """The superposed network A^l = ReLU(W^l A^{l-1} + B^l) of width D, made by `superpose`.

    Equation 5.17. Activations keep their block axis: (..., d, n) with n = D/d, neuron (i, p) of
    the flat network being i n + p (5.14). The forward pass never builds W. With the embedding
    matrix W_emb = (1/S + chi) P - chi 11^T, where P marks the entries that any circuit uses, and
    P = sum_t |e_t^l><e_t^{l-1}| - X, where X counts how often an entry is used beyond once,

        W^l A = sum_t |e_t^l> (w_t/S + chi w_mean) <e_t^{l-1}|A>
                - (1/S + chi) w_mean X A - chi w_mean 11^T A.

    All three terms gather positions, multiply by a d x d matrix and scatter to positions: the T
    circuits, the n rows of X, and 11^T are gathered, multiplied and scattered together. The first
    T sums are the read-outs (5.30), S times over. This has first derivatives; `to_dense` has all.

    tables: (L, T, S) ints, row l-1 for layer l. chi: (L,), chi[l-1] for layer l, chi[0] unused.
    """

    FORMAT = "cisp network 1"

    w: Tensor
    b: Tensor
    w_mean: Tensor
    tables: Tensor
    chi: Tensor
    theta: Tensor | None
    input_mean: Tensor
    input_map: Tensor
    indices: nn.ModuleList

    def __init__(
        self, circuits: SmallCircuits, tables: Tensor, chi: Tensor, w_mean: Tensor, *, D: int
    ) -> None:
        super().__init__()
        self.D, self.T, self.d = D, circuits.T, circuits.d
        self.n = _positions(D, circuits.d)
        self.L, _, self.S = tables.shape
        device = circuits.w.device
        self.register_buffer("tables", tables.to(device))
        self.register_buffer("chi", chi.to(device))
        self.register_buffer("w_mean", w_mean)
        for name in ("w", "b", "theta", "input_mean", "input_map"):
            self.register_buffer(name, getattr(circuits, name))
        self._readout_names = list(circuits.readouts)
        for k, matrix in enumerate(circuits.readouts.values()):
            self.register_buffer(f"readout_{k}", matrix)
        _index(self)
        self.register_load_state_dict_post_hook(_index)

    @property
    def circuits(self) -> SmallCircuits:
        """The circuits that the network computes, in its dtype and on its device."""
        return SmallCircuits(
            w=self.w,
            b=self.b,
            readouts={k: getattr(self, f"readout_{i}") for i, k in enumerate(self._readout_names)},
            theta=self.theta,
            L=self.L,
            input_mean=self.input_mean,
            input_map=self.input_map,
        )

    def sample(
        self, *, batch: int, z: int, rng: Seed = 0
    ) -> tuple[Int[Tensor, "batch z"], Float[Tensor, "batch z d"]]:
        """Random active circuits, z of T without replacement, and their inputs (active, a0)."""
        rng = np.random.default_rng(rng)
        count("batch", batch), count("z", z, high=self.T)
        active = random_subsets(T=batch, n=self.T, S=z, rng=rng)
        a0 = self.circuits.sample_inputs(batch=batch, z=z, rng=rng)
        return torch.from_numpy(active).to(self.tables.device), a0

    def embed(
        self, a0: Float[Tensor, "batch z d"], active: Int[Tensor, "batch z"]
    ) -> Float[Tensor, "batch d n"]:
        """The network's input A^0 = sum_t w_t^1 a_t^0 |e_t^1> over the active circuits (5.25)."""
        check_inputs(a0, active, T=self.T, d=self.d, dtype=self.w.dtype)
        values = torch.einsum("bzij,bzj->bzi", self._weights(1)[0][active], a0)
        values = values.permute(1, 2, 0).repeat_interleave(self.S, 0)  # (z S, d, batch)
        positions = self.tables[0][active].flatten(1).T.unsqueeze(1).expand_as(values)
        A0 = a0.new_zeros(self.n, self.d, len(a0)).scatter_add_(0, positions, values)
        return A0.permute(2, 1, 0)

    def forward(self, A0: Float[Tensor, "batch d n"]) -> Float[Tensor, "layers batch d n"]:
        """All activations A^0..A^L; A^0 is the input before bias and ReLU (5.17, 5.26, 5.27)."""
        self._check("A0", A0)
        first = A0.permute(2, 1, 0)
        return torch.stack([first, *(A for A, _ in self.stream(first))]).permute(0, 3, 2, 1)

    def stream(
        self, A0: Float[Tensor, "n d batch"], keep: Float[Tensor, "layers n batch"] | None = None
    ) -> Iterator[tuple[Float[Tensor, "n d batch"], Float[Tensor, "T d batch"]]]:
        """A^l and <e_t^l|A^l> = S a_hat_t^l for l = 1..L, positions first and batch last.

        The layout in which gathers and scatters are fastest; nothing older than one layer is held.
        `keep` multiplies the activations of each layer position by position: 0 silences a neuron.
        """
        gathered = A0
        for layer in range(1, self.L + 1):
            A = A0 if layer == 1 else self._multiply(gathered, layer)
            A = torch.relu(A + self._weights(layer)[1][:, None])
            A = A if keep is None else A * keep[layer - 1].unsqueeze(1)
            gathered = self._index(layer).gather(A)
            yield A, gathered[: self.T]

    def readout(
        self, A: Float[Tensor, "*layers batch d n"], layer: int
    ) -> Float[Tensor, "batch T d"]:
        """The estimates a_hat_t^l = <e_t^l|A^l> / S of every circuit's activations (5.30).

        A is the whole result of a forward pass, or the activations (batch, d, n) of that layer.
        """
        count("layer", layer, high=self.L)
        if A.ndim == 4 and len(A) != self.L + 1:
            raise ValueError(f"A has {len(A)} layers; it must have {self.L + 1}, 0 to {self.L}")
        A = A[layer] if A.ndim == 4 else A
        self._check("A", A)
        return self._index(layer).gather(A.permute(2, 1, 0))[: self.T].permute(2, 0, 1) / self.S

    def W_emb(self, layer: int) -> Float[Tensor, "n n"]:
        """The dense embedding matrix of layer 2..L: 1/S where used, else -chi (5.23)."""
        count("layer", layer, low=2, high=self.L)
        rows, columns = self.tables[layer - 1].unsqueeze(-1), self.tables[layer - 2].unsqueeze(-2)
        dense = self.w.new_full((self.n, self.n), -float(self.chi[layer - 1]))
        dense[rows, columns] = 1 / self.S
        return dense

    def W(self, layer: int) -> Float[Tensor, "D D"]:
        """The dense weights W^l of layer 1..L, blocks stacked as in 5.14 (5.20; W^1 = I, 5.26)."""
        W = self.shared(layer)
        if layer > 1:
            rows, columns = self._links(layer)
            parts = (self._delta(layer) / (rows.shape[1] / self.S)).flatten(1)
            own = W.new_zeros(self.n**2, self.d**2)
            entries = (rows * self.n + columns).flatten()
            own = own.index_add(0, entries, parts.repeat_interleave(rows.shape[1], 0))
            blocks = own.view(self.n, self.n, self.d, self.d).permute(2, 0, 3, 1)
            W = W + blocks.reshape(self.D, self.D)
        return W

    def B(self, layer: int) -> Float[Tensor, " D"]:
        """The bias |B^l> = b^l |1>: each block's own constant (5.28)."""
        count("layer", layer, high=self.L)
        return self._weights(layer)[1].repeat_interleave(self.n)

    def shared(self, layer: int) -> Float[Tensor, "D D"]:
        """What W(layer) holds beyond the circuits' own parts: w_mean (x) W_emb, or I in layer 1."""
        if count("layer", layer, high=self.L) == 1:
            return torch.eye(self.D).to(self.w)
        return torch.kron(self._mean(layer), self.W_emb(layer))

    def component(self, layer: int, t: int) -> Float[Tensor, "D D"]:
        """Circuit t's own part of W(layer): (1/S) Delta w_t (x) |e_t^l><e_t^{l-1}| (5.20).

        W(layer) = shared(layer) + the sum of all components. In layer 1 a circuit has no part, W
        being the identity: its first weights are applied by `embed`.
        """
        count("layer", layer, high=self.L), count("t", t, low=0, high=self.T - 1)
        part = torch.zeros(self.d, self.n, self.d, self.n).to(self.w)
        if layer > 1:
            rows, columns = self._links(layer)
            part[:, rows[t], :, columns[t]] = self._delta(layer)[t] / (rows.shape[1] / self.S)
        return part.reshape(self.D, self.D)

    def to_dense(self) -> nn.Sequential:
        """The same function as plain Linear and ReLU layers: A^0 (batch, D) -> A^L (batch, D)."""
        modules: list[nn.Module] = []
        for layer in range(1, self.L + 1):
            linear = nn.Linear(self.D, self.D, device="meta")
            linear.weight, linear.bias = nn.Parameter(self.W(layer)), nn.Parameter(self.B(layer))
            modules += [linear, nn.ReLU()]
        return nn.Sequential(*modules)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a safetensors file, to be read by `Network.load`."""
        about = {
            "format": self.FORMAT,
            "D": str(self.D),
            "readouts": json.dumps(self._readout_names),
        }
        own = {k: v.contiguous().clone() for k, v in self.state_dict().items()}
        save_file(own, path, metadata=about)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Network":
        """The network written by `save`, bit for bit. Raises ValueError for any other file."""
        try:
            opened = safe_open(path, framework="pt")
        except SafetensorError as error:
            raise ValueError(f"path={str(path)!r} is not a safetensors file: {error}") from None
        with opened as file:
            about = file.metadata() or {}
            if about.get("format") != cls.FORMAT:
                raise ValueError(
                    f"path={str(path)!r} holds format {about.get('format')!r}; "
                    f"it must be {cls.FORMAT!r}, as written by {cls.__name__}.save"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        names = json.loads(about["readouts"])
        circuits = SmallCircuits(
            readouts={name: tensors[f"readout_{k}"] for k, name in enumerate(names)},
            theta=tensors.get("theta"),
            L=len(tensors["tables"]),
            **{name: tensors[name] for name in ("w", "b", "input_mean", "input_map")},
        )
        return cls(
            circuits, tensors["tables"], tensors["chi"], tensors["w_mean"], D=int(about["D"])
        )

    def _check(self, name: str, A: Tensor) -> None:
        if A.ndim != 3 or 0 in A.shape or A.shape[1:] != (self.d, self.n):
            raise ValueError(
                f"{name} has shape {tuple(A.shape)}; it must be (batch, {self.d}, {self.n})"
            )
        if A.dtype != self.w.dtype:
            raise ValueError(f"{name} has dtype {A.dtype}; it must be the network's {self.w.dtype}")

    def _links(self, layer: int) -> tuple[Int[Tensor, "T links"], Int[Tensor, "T links"]]:
        """The positions that each circuit links: to p in this layer from q in the one before."""
        rows, columns = self.tables[layer - 1], self.tables[layer - 2]
        return rows.repeat_interleave(self.S, 1), columns.repeat(1, self.S)

    def _bags(self) -> list["Bags"]:
        """What each layer gathers for the next and scatters from the one before.

        Gathered: for each circuit its positions; for each position of the next layer the entries of
        X in its row; all positions. Scattered to a position: its circuits; its row of X; the last.
        """
        tables = self.tables.cpu()
        after = [*tables[1:], None]
        return [_shuffled(tables[k], after[k], self.n) for k in range(self.L)]

    def _index(self, layer: int) -> "Bags":
        found = self.indices[layer - 1]
        assert isinstance(found, Bags)
        return found

    def _delta(self, layer: int) -> Float[Tensor, "T d d"]:
        return self._weights(layer)[0] - self._mean(layer)

    def _weights(self, layer: int) -> tuple[Tensor, Tensor]:
        return (
            self.w if self.w.ndim == 3 else self.w[layer - 1],
            self.b if self.b.ndim == 1 else self.b[layer - 1],
        )

    def _mean(self, layer: int) -> Tensor:
        return self.w_mean if self.w_mean.ndim == 2 else self.w_mean[layer - 1]

    def _multiply(self, gathered: Float[Tensor, "sums d batch"], layer: int) -> Tensor:
        """W^l A from what layer l-1 gathered, as the class explains: (n, d, batch)."""
        w, w_mean, chi = self._weights(layer)[0], self._mean(layer), float(self.chi[layer - 1])
        twice = (-(1 / self.S + chi) * w_mean).expand(self.n, -1, -1)
        everywhere = (-chi * w_mean).unsqueeze(0)
        matrices = torch.cat([w / self.S + chi * w_mean, twice, everywhere])
        return self._index(layer).scatter(matrices @ gathered)


def _index(network: Network, _: object = None) -> None:
    """Derive from the tables what each layer gathers and scatters."""
    network.indices = nn.ModuleList(network._bags()).to(network.tables.device)


def _shuffled(table: Tensor, after: Tensor | None, n: int) -> "Bags":
    """The bags of a layer; nothing but read-outs is gathered after the last."""
    T, S = table.shape
    every = torch.arange(n)
    last = torch.full_like(every, T + n)
    bags, rows = [torch.arange(T).repeat_interleave(S)], [table.flatten()]
    targets, sums = torch.cat([rows[0], every, every]), torch.cat([bags[0], T + every, last])
    if after is not None:
        entries = (after.unsqueeze(-1) * n + table.unsqueeze(-2)).flatten().sort().values
        again = entries[1:][entries[1:] == entries[:-1]]
        bags += [T + again // n, last]
        rows += [again % n, every]
    return Bags(torch.cat(bags), torch.cat(rows), targets, sums, n)


class Bags(nn.Module):
    """Sums of rows, and what positions receive of them, as bags of row numbers.

    Row rows[k] is added to sum bags[k], bags in order; sum sums[k] to position targets[k].
    """

    rows: Tensor
    row_bags: Tensor
    sums: Tensor
    sum_bags: Tensor

    def __init__(self, bags: Tensor, rows: Tensor, targets: Tensor, sums: Tensor, n: int) -> None:
        super().__init__()
        sorting = targets.argsort(stable=True)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("row_bags", _starts(bags, int(bags[-1]) + 1), persistent=False)
        self.register_buffer("sums", sums[sorting], persistent=False)
        self.register_buffer("sum_bags", _starts(targets[sorting], n), persistent=False)

    def gather(self, A: Float[Tensor, "n d batch"]) -> Float[Tensor, "sums d batch"]:
        """The sums of rows of A, the T circuits' first."""
        gathered = embedding_bag(self.rows, A.flatten(1), self.row_bags, mode="sum")
        return gathered.view(-1, *A.shape[1:])

    def scatter(self, sums: Float[Tensor, "sums d batch"]) -> Float[Tensor, "n d batch"]:
        """What each position receives."""
        received = embedding_bag(self.sums, sums.flatten(1), self.sum_bags, mode="sum")
        return received.view(-1, *sums.shape[1:])


def _starts(ordered: Tensor, bags: int) -> Tensor:
    """Where each of the bags 0..bags-1 starts in a list of bag numbers in order."""
    return torch.searchsorted(ordered, torch.arange(bags))


def _balance(table: Table, before: Table, n: int) -> float:
    """The chi with E_{t != u} <e_t^l|W_emb|e_u^{l-1}> = 0 over all ordered pairs (5.24).

    Of the T (T-1) S^2 entries that these brackets add up, M are 1/S and the others -chi, so
    chi = M / (S (T (T-1) S^2 - M)). With c the load, M = c^l . P c^{l-1} less the T S^2 entries of
    the pairs t = u. A single circuit has no pairs; its chi is 0.
    """
    T, S = table.shape
    entries = np.sort(table[:, :, None] * n + before[:, None, :], axis=None)
    entries = entries[np.diff(entries, prepend=-1) > 0]  # each used entry once
    c, c_before = np.bincount(table.ravel(), minlength=n), np.bincount(before.ravel(), minlength=n)
    M = int(c[entries // n] @ c_before[entries % n]) - T * S**2
    rest = T * (T - 1) * S**2 - M
    if T > 1 and rest == 0:
        raise ValueError(
            f"T={T} circuits use every entry of the {n} x {n} embedding matrix at S={S}, so no chi "
            "solves 5.24; take fewer circuits or a larger D"
        )
    return M / (S * rest) if T > 1 else 0.0


def _positions(D: int, d: int) -> int:
    """n = D/d, the positions in a block."""
    if count("D", D) % d:
        raise ValueError(
            f"D={D} is not divisible by the circuits' d={d}; D must be a multiple of {d}"
        )
    return D // d
