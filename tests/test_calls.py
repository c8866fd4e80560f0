"""Circuits that call each other: exact for one caller, and where too many calls meet, not."""

import numpy as np
import pytest
import torch
from torch import Tensor

import cisp
from cisp.calls import with_calls
from cisp.counted import while_on

L, LAYER = 6, 3
START = torch.tensor([1.6, 1.8]).double()  # x = (0.6, 0.8) on its offset of 1


def network(T: int = 216, D: int = 405) -> cisp.Network:
    theta = np.random.default_rng(0).uniform(0, 2 * np.pi, (L, T))
    circuits = cisp.conditional_rotations(theta=theta, dtype=torch.float64)
    return cisp.superpose_exact(circuits, D=D, z=2)


def drawn_calls(T: int, number: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).permutation(T)[: 2 * number]).view(-1, 2)


def heard(table: Tensor, calls: Tensor, v: int) -> Tensor:
    """C of every position with v alone active, call by call."""
    C = torch.zeros(int(table.max()) + 1)
    for caller, called in calls.tolist():
        for p in table[called].tolist():
            C[p] += len(set(table[caller].tolist()) & set(table[v].tolist()))
    return C


def told(network: cisp.Network, u: int) -> Tensor:
    """Circuit u's state in layer L if it begins in layer LAYER + 1."""
    on = while_on(cisp.conditional_rotations(theta=network.circuits.theta, dtype=torch.float64))
    a = START
    for layer in range(LAYER + 2, L + 1):
        a = torch.relu(on.V[layer - 1, u] @ a + on.c[layer - 1, u])
    return a


def test_a_call_puts_the_called_circuit_in_and_both_stay_exact() -> None:
    net, calls = network(), drawn_calls(216, 12)
    v, u = calls.T
    a0 = net.circuits.sample_inputs(batch=len(v), z=1, rng=0)
    dense = with_calls(net, calls, layer=LAYER, start=START)
    A = dense(net.embed(a0, v.unsqueeze(1)).flatten(1)).view(len(v), net.d, net.n)
    on = torch.zeros(216, net.n).double().scatter(1, net.tables[0], 1.0)
    torch.testing.assert_close(A[:, 0], on[v] + on[u], rtol=0, atol=1e-12)
    read = net.readout(torch.stack([A] * (L + 1)), L)[..., 1:].unflatten(-1, (2, 2)).sum(-2)
    true = net.circuits.run(a0, v.unsqueeze(1))[L][:, 0, 1:].unflatten(-1, (2, 2)).sum(-2)
    for row, (caller, called) in enumerate(calls.tolist()):
        torch.testing.assert_close(read[row, caller], true[row], rtol=0, atol=1e-12)
        torch.testing.assert_close(read[row, called], told(net, called), rtol=0, atol=1e-12)
    others = read.clone()
    others[torch.arange(len(v)), v] = others[torch.arange(len(v)), u] = 0
    assert not others.any()


def test_who_is_not_called_sleeps_and_who_calls_nobody_is_undisturbed() -> None:
    net, calls = network(), drawn_calls(216, 12)
    other = torch.tensor([t for t in range(216) if t not in set(calls[:, 0].tolist())])
    A0 = net.embed(net.circuits.sample_inputs(batch=len(other), z=1, rng=0), other.unsqueeze(1))
    A = with_calls(net, calls, layer=LAYER, start=START)(A0.flatten(1))
    torch.testing.assert_close(A, net(A0)[L].flatten(1), rtol=0, atol=1e-12)


def test_a_position_comes_on_wrongly_where_three_half_heard_calls_meet() -> None:
    net, calls = network(), drawn_calls(216, 108)  # everybody calls or is called
    table, wrong = net.tables[0], 0
    A0 = net.embed(net.circuits.sample_inputs(batch=108, z=1, rng=0), calls[:, :1])
    dense = with_calls(net, calls, layer=LAYER, start=START)
    k = dense[: 2 * (LAYER + 1)](A0.flatten(1)).view(108, net.d, net.n)[:, 0]
    for row, v in enumerate(calls[:, 0].tolist()):
        own = torch.zeros(net.n).double().index_fill(0, table[v], 1)
        comes = heard(table, calls, v) >= 3
        torch.testing.assert_close(k[row], own + comes, rtol=0, atol=1e-12)
        wrong += int(comes.sum()) - 3
    assert wrong > 0


@pytest.mark.parametrize("calls", [0, 3])
def test_without_calls_nothing_changes(calls: int) -> None:
    net = network(6, 45)
    A0 = net.embed(*net.sample(batch=9, z=2, rng=0)[::-1])
    chosen = torch.tensor([[0, 1]] * calls).long().view(-1, 2)
    found = with_calls(net, chosen, layer=2, start=START)(A0.flatten(1))
    off = (found - net.to_dense()(A0.flatten(1))).abs().max()
    assert (off < 1e-12) == (calls == 0)
