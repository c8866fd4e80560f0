"""A network whose circuits are known, and endless activations of it beside the truth."""

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from cisp.arguments import count, generator, instance
from cisp.inputs import Seed
from cisp.network import Network
from cisp.testbed import truth
from cisp.testbed.activity import Activity, drawn
from cisp.testbed.truth import Components

BATCH = 1024


class Batch(NamedTuple):
    """Activations and what they stand for.

    activations: (batch, D) of the bed's layer, or (L+1, batch, D) of all.
    active: (batch, z) the active circuits, -1 where an input has fewer than the batch's most.
    states: (batch, z, d) what they hold by the oracle in that layer, or (L+1, batch, z, d); 0 where
        active is -1.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> batch = Testbed(network, z={1: 0.5, 2: 0.5}).sample(batch=4, rng=0)
    >>> batch.active.tolist()
    [[3, 4], [1, -1], [4, -1], [3, -1]]
    >>> batch.on(6).sum(1).tolist()
    [2, 1, 1, 1]
    """

    activations: Tensor
    active: Int[Tensor, "batch z"]
    states: Tensor

    def on(self, T: int) -> Tensor:
        """Which of the T circuits are active, bool (batch, T)."""
        marks = torch.zeros(len(self.active), T + 1, dtype=torch.bool, device=self.active.device)
        return marks.scatter(1, self.active.where(self.active >= 0, T), True)[:, :T]


class Testbed:
    """A network with known circuits, as a source of activations and of the truth behind them.

    z: how many circuits are active, 0 too; or shares of several, {0: .1, 1: .6, 2: .3}; or a
        function of (T, batch, rng) that gives a mask (batch, T), as `bernoulli` and `zipf` are.
    layer: of 1..L, or None for all at once.

    Truth in a layer: a circuit's `directions`, one each; its `subspaces`, what its states span; its
    `components`, its part of the weights. An active circuit's neurons are on together, so that its
    subspace can be found from activations, and no basis of it.

    Raises ValueError for a z or a layer that the network does not have.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> batch = Testbed(network, z=1).sample(batch=5, rng=0)
    >>> tuple(batch.activations.shape), tuple(batch.active.shape)
    ((3, 5, 48), (5, 1))
    """

    __test__ = False  # no test, whatever pytest makes of the name

    def __init__(self, network: Network, *, z: Activity, layer: int | None = None) -> None:
        instance("network", network, Network)
        self.network, self.z = network, z
        self.layer = None if layer is None else count("layer", layer, high=network.L)
        self._draw = drawn(z, network.T)

    def __repr__(self) -> str:
        one = self.network
        where = "all layers" if self.layer is None else f"layer {self.layer}"
        z = self.z if isinstance(self.z, int | dict) else getattr(self.z, "__qualname__", "drawn")
        return f"Testbed(T={one.T}, D={one.D}, S={one.S}, L={one.L}, z={z}, {where})"

    def sample(self, *, batch: int = BATCH, rng: Seed = 0) -> Batch:
        """One batch of the stream."""
        active, a0, real = self.inputs(batch=batch, rng=rng)
        network = self.network
        with torch.no_grad():
            A = network(network.embed(a0, active)).flatten(2)
            a = network.circuits.run(a0, active) * real.unsqueeze(-1)
        which = slice(None) if self.layer is None else self.layer
        return Batch(A[which], active.where(real, -1), a[which])

    def inputs(
        self, *, batch: int = BATCH, rng: Seed = 0
    ) -> tuple[Int[Tensor, "batch z"], Float[Tensor, "batch z d"], Tensor]:
        """Inputs as `Network.embed` takes them, and which are real: others have a^0 = 0.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> active, a0, real = Testbed(network, z={1: 0.5, 2: 0.5}).inputs(batch=4)
        >>> tuple(a0.shape), real.sum(1).tolist()
        ((4, 2, 4), [2, 1, 1, 1])
        """
        rng = generator(rng)
        on = self._draw(self.network.T, count("batch", batch), rng)
        most = max(int(on.sum(1).max()), 1)
        order = (~on).argsort(1, kind="stable")[:, :most]  # circuits that are on come first
        real = torch.from_numpy(np.take_along_axis(on, order, 1))
        active = torch.from_numpy(order)
        a0 = self.network.circuits.sample_inputs(batch=batch, z=most, rng=rng, active=active)
        device = self.network.tables.device
        real, active = real.to(device), active.to(device)
        return active, a0 * real.unsqueeze(-1), real

    def stream(self, *, batch: int = BATCH, rng: Seed = 0) -> Iterator[Batch]:
        """Endless batches of (activations, active, states), the same for the same seed.

        >>> import cisp
        >>> from itertools import islice
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> stream = Testbed(network, z=1, layer=2).stream(batch=5)
        >>> [tuple(batch.activations.shape) for batch in islice(stream, 3)]
        [(5, 48), (5, 48), (5, 48)]
        """
        rng, batch = generator(rng), count("batch", batch)
        return (self.sample(batch=batch, rng=rng) for _ in itertools.count())

    def dataset(self, *, batch: int = BATCH, rng: int = 0) -> Dataset[Batch]:
        """The stream as a torch IterableDataset, for a DataLoader with batch_size=None.

        >>> import cisp
        >>> from torch.utils.data import DataLoader
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> data = Testbed(network, z=1, layer=2).dataset(batch=5)
        >>> tuple(next(iter(DataLoader(data, batch_size=None))).activations.shape)
        (5, 48)
        """
        return _Stream(self, batch, rng)

    def directions(self, layer: int | None = None) -> Float[Tensor, "T D"]:
        """Each circuit's mean activation while it is active, alone, at length 1.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> directions = Testbed(network, z=1).directions(2)
        >>> tuple(directions.shape), directions.norm(dim=1).round(decimals=3).unique().tolist()
        ((6, 48), [1.0])
        """
        layer = self._one(layer)
        mean = self._alone[layer].mean(0).unsqueeze(-1)
        return torch.nn.functional.normalize(truth.placed(self.network, mean, layer)[..., 0], dim=1)

    def subspaces(self, layer: int | None = None) -> Float[Tensor, "T D r"]:
        """Orthonormal columns of what each circuit's activations span while it is active, alone.

        Columns of zeros where a circuit spans fewer than another.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> tuple(Testbed(network, z=1).subspaces(2).shape)
        (6, 48, 3)
        """
        layer = self._one(layer)
        return truth.placed(self.network, truth.span(self._alone[layer]), layer)

    def components(self, layer: int | None = None, *, whole: bool = False) -> Components:
        """Each circuit's own part of W in layer 2..L, or its whole part; see `truth.components`.

        >>> import cisp
        >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
        >>> parts = Testbed(network, z=1).components(2)
        >>> bool((parts.total() + network.shared(2) - network.W(2)).abs().max() < 1e-5)
        True
        """
        return truth.components(self.network, self._one(layer), whole=whole)

    @cached_property
    def _alone(self) -> Tensor:
        return truth.alone(self.network)

    def _one(self, layer: int | None) -> int:
        return count("layer", self.layer if layer is None else layer, high=self.network.L)


class _Stream(IterableDataset[Batch]):
    def __init__(self, bed: Testbed, batch: int, rng: int) -> None:
        self.bed, self.batch, self.rng = bed, count("batch", batch), count("rng", rng, low=0)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.rng, worker.id if worker else 0])
        return self.bed.stream(batch=self.batch, rng=rng)
