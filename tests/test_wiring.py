"""One set of facts behind a layer's product and its dense weights, whatever the wiring."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import cisp
from cisp import Dealt, Extrinsic, Network, SmallCircuits, conditional_rotations
from cisp.layers import Bags, Layer

DATA = Path(__file__).parent / "data"


def normal(*shape: int, rng: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(rng).normal(size=shape))


def by_block() -> Network:
    """The post's wiring with chi scaled to half in blocks 0 and 1."""
    circuits = conditional_rotations(T=20, rng=1, dtype=torch.float64)
    plain = cisp.superpose(circuits, D=100, S=3, L=3, rng=1)
    chi = plain.chi.unsqueeze(1) * torch.tensor([0.5, 0.5, 1, 1])
    return Network(circuits, Dealt(plain.tables, chi, n=25), plain.w_mean)


@given(
    T=st.integers(1, 5),
    d=st.integers(1, 3),
    n=st.integers(1, 4),
    extra=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_any_facts_give_a_product_and_dense_weights_that_agree(
    T: int, d: int, n: int, extra: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sums = T + extra
    gather = [rng.integers(0, n, rng.integers(0, 3)) for _ in range(sums)]
    scatter = [rng.integers(0, sums, rng.integers(0, 3)) for _ in range(n)]
    back = torch.from_numpy(
        np.stack([rng.integers(0, T, 3), rng.integers(T, sums, 3)]) if extra else np.zeros((2, 0))
    ).long()
    share, chi = int(rng.integers(1, 4)), normal(d, rng=seed)
    facts = torch.from_numpy(rng.integers(-2, 3, (3, sums)))
    layer = Layer(
        bags(gather, n), bags(scatter, sums), T=T, share=share, mean=facts, taken_back=back
    )
    whole, used, slope = facts.unsqueeze(-1)
    mean = whole + used / share + slope * chi
    w, w_mean, A = normal(T, d, d), normal(d, d, rng=1), normal(n, d, 2, rng=2)

    W = layer.W(w, w_mean, chi)
    product = layer(layer.gather(A), w, w_mean, chi)
    flat = A.transpose(0, 1).reshape(d * n, 2)
    torch.testing.assert_close(W @ flat, product.transpose(0, 1).reshape(d * n, 2))
    by_hand = torch.zeros(d, n, d, n).double()  # sum by sum, from the lists
    for k in range(sums):
        M = mean[k].unsqueeze(1) * w_mean
        M = M + (w[k] - w_mean) / share if k < T else M
        for t in back[0][back[1] == k].tolist():
            M = M - (w[t] - w_mean) / share
        for p in range(n):
            for q in gather[k]:
                by_hand[:, p, :, q] += (scatter[p] == k).sum() * M
    torch.testing.assert_close(W, by_hand.reshape(d * n, d * n))
    shared = torch.einsum("ij,ipq->ipjq", w_mean, layer.W_emb(chi)).reshape(d * n, d * n)
    parts = [torch.zeros(d, n, d, n).double() for _ in range(T)]
    for t, part in enumerate(parts):
        rows, columns, own = layer.own(t, w[t] - w_mean, chi)
        part[:, rows.unsqueeze(1), :, columns] = own
    if all(len(set(row.tolist())) == len(row) for row in (*gather, *scatter)):
        torch.testing.assert_close(shared + torch.stack(parts).sum(0).view_as(W), W)


def bags(lists: list[np.ndarray], of_rows: int) -> Bags:
    of = torch.from_numpy(np.repeat(np.arange(len(lists)), [len(row) for row in lists]))
    return Bags(of, torch.from_numpy(np.concatenate(lists).astype(int)), len(lists), of_rows)


def test_chi_by_block_is_in_the_product_and_in_the_dense_weights_alike(tmp_path: Path) -> None:
    network = by_block()
    A0 = normal(3, 4, 25)
    assert network.W_emb(2).shape == (4, 25, 25)
    torch.testing.assert_close(network.to_dense()(A0.flatten(1)), network(A0)[-1].flatten(1))
    plain = Network(network.circuits, Dealt(network.tables, n=25), network.w_mean)
    assert float((network.W(2) - plain.W(2)).abs().max()) > 0.01
    torch.testing.assert_close(network.W_emb(2)[2], plain.W_emb(2))

    network.save(tmp_path / "n.safetensors")
    again = Network.load(tmp_path / "n.safetensors")
    assert torch.equal(again(A0), network(A0))
    on_cpu = cisp.measure(network, z=2, samples=20, device="cpu").errors.mse
    assert on_cpu.tolist() == cisp.measure(network, z=2, samples=20).errors.mse.tolist()


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("post", (22.0334, 37.5360, 795.5059)), ("extrinsic", (47.1717, 94.9973, 686.4936))],
)
def test_files_saved_by_the_first_edition_still_load(
    name: str, numbers: tuple[float, float, float]
) -> None:
    # the numbers are those that the first edition (commit 5bc1b22) gave for its files
    network = Network.load(DATA / f"{name}-first-edition.safetensors")
    active, a0 = network.sample(batch=2, z=2, rng=3)
    A = network(network.embed(a0, active))[-1]
    found = (A.sum(), A.square().sum(), network.W(2).square().sum())
    assert [float(x) for x in found] == pytest.approx(numbers, abs=1e-4)


def test_a_wiring_is_derived_anew_from_a_state_that_is_loaded() -> None:
    network = by_block()
    A0 = normal(3, 4, 25)
    other = by_block()
    other.wiring.tables.copy_(network.tables.flip(1))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(A0), network(A0))
    single = by_block().float()
    torch.testing.assert_close(single(A0.float()).double(), network(A0), rtol=1e-4, atol=1e-4)


def exact(rng: int) -> Network:
    return cisp.superpose_exact(conditional_rotations(T=12, rng=rng), D=150, rng=rng).double()


def extrinsic(rng: int) -> Network:
    circuits = conditional_rotations(T=12, rng=rng, bias=3)
    return cisp.superpose_extrinsic(circuits, D=100, S=3, rng=rng).double()


def dealt(rng: int) -> Network:
    return cisp.superpose(conditional_rotations(T=12, rng=rng), D=100, S=3, rng=rng).double()


@pytest.mark.parametrize("make", [dealt, extrinsic, exact])
def test_a_loaded_state_is_the_whole_network(make: Callable[[int], Network]) -> None:
    one, other = make(1), make(2)
    A0 = normal(3, one.d, one.n)
    assert not torch.equal(other(A0), one(A0))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(A0), one(A0))


@pytest.mark.parametrize("make", [dealt, extrinsic, exact])
def test_what_is_set_on_a_network_is_what_it_runs_and_saves(
    make: Callable[[int], Network], tmp_path: Path
) -> None:
    network, A0 = make(1), normal(3, make(1).d, make(1).n)
    before = network(A0)
    network.b = network.b * 2 - 0.1
    assert not torch.equal(network(A0), before)
    network.save(tmp_path / "n.safetensors")
    assert torch.equal(Network.load(tmp_path / "n.safetensors")(A0), network(A0))


@pytest.mark.parametrize("make", [dealt, extrinsic, exact])
def test_networks_made_of_one_wiring_do_not_change_each_other(
    make: Callable[[int], Network],
) -> None:
    network, A0 = make(1), normal(3, make(1).d, make(1).n)
    before = network(A0)
    Network(network.circuits, network.wiring, network.w_mean).half()
    assert torch.equal(network(A0), before)


def test_facts_of_an_exact_network_that_disagree_are_refused() -> None:
    network = exact(1)
    wiring, given = network.wiring, (network.circuits, network.w_mean)
    assert isinstance(wiring, cisp.Channels)
    tables, counts, flags, n = wiring.tables, wiring.counts, wiring.flags, network.n
    with pytest.raises(ValueError, match=r"^tables differ in layers 1 and 2; this wiring has one"):
        cisp.Channels(torch.cat([tables[:1], tables[1:].flip(1)]), counts, flags, n=n)
    with pytest.raises(ValueError, match=r"^tables holds position \d+; positions are 0\.\.2$"):
        cisp.Channels(tables, counts, flags, n=3)
    with pytest.raises(ValueError, match=r"^counts has shape"):
        cisp.Channels(tables, counts[:1], flags, n=n)
    with pytest.raises(ValueError, match=r"^the circuits' weights in layer 2 are off by"):
        Network(given[0], cisp.Channels(tables, counts * 2, flags, n=n), given[1])
    with pytest.raises(ValueError, match=r"^the circuits' weights in layer 2 are off by"):
        Network(given[0], wiring, given[1] * 2)


def test_a_state_whose_tables_differ_by_layer_is_not_loaded_into_one_table() -> None:
    network = extrinsic(1)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    state["wiring.tables"][2] = state["wiring.tables"][2].flip(0)
    with pytest.raises(ValueError, match=r"^tables differ in layers 1 and 3"):
        network.load_state_dict(state)


@pytest.mark.parametrize("chi", [torch.zeros(2), torch.zeros(7), torch.tensor([0, np.nan, 0])])
def test_a_chi_that_does_not_fit_is_refused(chi: Tensor) -> None:
    tables = torch.tensor([[[0, 1]]] * 3)
    with pytest.raises(ValueError, match=r"must be finite(, \(3,\) or \(3, d\))?$"):
        Dealt(tables, chi, n=3)
    with pytest.raises(ValueError, match=r"is not allowed; this wiring has none, or zeros$"):
        Extrinsic(tables, torch.ones(3), n=3)


def test_chi_changed_in_place_changes_product_and_dense_weights_alike() -> None:
    network, A0 = by_block(), normal(3, 4, 25)
    before = network(A0)
    network.chi.mul_(2)
    assert float((network(A0) - before).abs().max()) > 0.01
    torch.testing.assert_close(network.to_dense()(A0.flatten(1)), network(A0)[-1].flatten(1))


def test_tables_that_differ_by_layer_are_not_wired_extrinsically() -> None:
    tables = torch.tensor([[[0, 1]], [[0, 1]], [[1, 2]]])
    with pytest.raises(ValueError, match=r"^tables differ in layers 1 and 3; this wiring has one"):
        Extrinsic(tables, n=3)
    first = torch.tensor([[[0, 1]], [[1, 2]], [[1, 2]]])
    with pytest.raises(ValueError, match=r"^tables differ in layers 1 and 2; this wiring has one"):
        Extrinsic(first, n=3)
    assert Dealt(tables, n=3).tables.shape == (3, 1, 2)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (torch.tensor([[[0, 3]]]), r"^tables holds position 3; positions are 0\.\.2$"),
        (torch.tensor([[[-1, 2]]]), r"^tables holds position -1; positions are 0\.\.2$"),
        (torch.tensor([[0, 2]]), r"^tables has shape \(1, 2\) and dtype torch.int64; it must be"),
        (torch.zeros(1, 1, 2), r"dtype torch.float32; it must be \(L, T, S\) integers$"),
    ],
)
def test_tables_that_cannot_be_wired_are_named(tables: Tensor, message: str) -> None:
    for wiring in (Dealt, Extrinsic):
        with pytest.raises(ValueError, match=message):
            wiring(tables, n=3)


def test_circuits_and_wiring_that_disagree_make_no_network() -> None:
    wiring = Dealt(torch.tensor([[[0, 1], [2, 3]]]), n=4)
    with pytest.raises(ValueError, match=r"^circuits have T=3, but the wiring has T=2; they must"):
        Network(conditional_rotations(T=3), wiring)
    deeper = Dealt(wiring.tables.repeat(3, 1, 1), n=4)
    assert Network(conditional_rotations(T=2), deeper).circuits.L == 3
    with pytest.raises(ValueError, match="L=3 is not allowed"):
        Network(SmallCircuits(w=torch.ones(2, 2, 1, 1), b=torch.zeros(1)), deeper)


def test_the_circuits_of_a_network_are_not_put_together_again_until_it_moves() -> None:
    network = by_block()
    assert network.circuits is network.circuits
    first = network.circuits
    assert network.float().circuits.w.dtype == torch.float32
    assert network.circuits is network.circuits is not first
