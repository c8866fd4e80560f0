"""Bad input raises a ValueError that names the argument, its value and what is allowed."""

import itertools
import re
from collections.abc import Callable
from typing import Any

import jaxtyping
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import cisp
import cisp.arguments
from cisp.assumptions import biases_agree, few_are_active, noise_is_not_amplified
from cisp.calls import with_calls

fraction: Any = 2.5


def circuits(T: int = 6, **more: Any) -> cisp.SmallCircuits:
    return cisp.SmallCircuits(**{"w": torch.eye(2).repeat(T, 1, 1), "b": -torch.ones(2), **more})


def build(**changes: Any) -> cisp.Network:
    given: dict[str, Any] = {"D": 24, "S": 3, "L": 3}
    return cisp.superpose(circuits(), **{**given, **changes})


def run(a0: Tensor, active: object) -> Tensor:
    return circuits().run(a0, torch.as_tensor(active))


def with_entry(value: float) -> Tensor:
    w = torch.eye(2).repeat(6, 1, 1)
    w[4, 0, 1] = value
    return w


def meeting_twice(**_: int) -> np.ndarray:
    return np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [1, 2, 3], [9, 10, 11], [0, 5, 9]])


def all_pairs(**_: int) -> np.ndarray:
    return np.array([[0, 1], [0, 2], [1, 2]])


def a_count(name: str, value: object, allowed: str) -> str:
    return f"{name}={value} is not allowed; {name} must be an integer {allowed}"


def predict(**changes: Any) -> cisp.DensityEvolution:
    return cisp.density_evolution(**{"T": 8, "D": 96, "S": 3, "z": 1, "L": 1, **changes})


def run_experiment(**changes: Any) -> object:
    return cisp.measure(build(), **{"z": 1, **changes})


def worst(**changes: Any) -> object:
    return cisp.worst_case(build(), **{"z": 2, **changes})


def calling(**changes: Any) -> object:
    circuits = cisp.conditional_rotations(theta=np.ones((4, 6)))
    given = {
        "network": cisp.superpose_exact(circuits, D=45, M=8.8),
        "calls": torch.tensor([[0, 1]]),
        "layer": 2,
        "start": torch.ones(2),
        **changes,
    }
    return with_calls(given.pop("network"), given.pop("calls"), **given)


def gate(**changes: Any) -> cisp.SmallCircuits:
    given: dict[str, Any] = {"w": torch.ones(2, 3, 4, 4), "b": torch.ones(2, 3, 4), **changes}
    return cisp.gated(given.pop("w"), given.pop("b"), **given)


def net(*sizes: int, last: nn.Module | None = None) -> nn.Sequential:
    parts: list[nn.Module] = []
    for into, out in itertools.pairwise(sizes):
        parts += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*parts[:-1], *([] if last is None else [last]))


def _with_nan(module: nn.Sequential) -> nn.Sequential:
    with torch.no_grad():
        next(module.parameters())[0, 0] = torch.nan
    return module


def parts_with(**changes: Any) -> object:
    return cisp.concatenate([gate(), gate(**changes)])


ERRORS = pd.DataFrame({"quantity": ["indicator", "rotation"] * 5, "z": range(10)})

# what is called, and the whole message
TABLE: dict[str, tuple[Callable[[], object], str]] = {
    # the network's sizes
    "D not divisible by d": (
        lambda: build(D=25),
        "D=25 is not divisible by the circuits' d=2; D must be a multiple of 2",
    ),
    "D=0": (lambda: build(D=0), a_count("D", 0, ">= 1")),
    "S above n": (lambda: build(S=13), a_count("S", 13, "in 1..12")),
    "S=0": (lambda: build(S=0), a_count("S", 0, "in 1..12")),
    "S a fraction": (lambda: build(S=2.5), a_count("S", 2.5, "in 1..12")),
    "L=0": (lambda: build(L=0), a_count("L", 0, "in 1..10000")),
    "L beyond the weights": (
        lambda: cisp.superpose(circuits(w=torch.ones(4, 6, 2, 2)), D=24, S=3, L=5),
        a_count("L", 5, "in 1..4"),
    ),
    "T beyond the capacity": (
        lambda: build(D=12),
        "T=6 exceeds the 2 circuits that prime_steps can place at n=6, S=3; "
        "transversal_design can place 2",
    ),
    "T beyond the capacity of the design": (
        lambda: build(D=12, allocate=cisp.transversal_design),
        "T=6 exceeds the 2 circuits that transversal_design can place at n=6, S=3; "
        "no allocation can place more than 4 (Johnson bound)",
    ),
    "design at S=0": (lambda: cisp.transversal_design(T=1, n=5, S=0), a_count("S", 0, ">= 1")),
    "design of T=0": (lambda: cisp.transversal_design(T=0, n=5, S=2), a_count("T", 0, ">= 1")),
    "w_mean of the wrong shape": (
        lambda: build(w_mean=torch.ones(3, 3)),
        "w_mean has shape (3, 3); it must be (2, 2) or (3, 2, 2)",
    ),
    "w_mean with nan": (
        lambda: build(w_mean=torch.full((2, 2), torch.nan)),
        "w_mean holds nan; its entries must be finite",
    ),
    "no chi": (
        lambda: cisp.superpose(circuits(3), D=6, S=2, allocate=all_pairs),
        "T=3 circuits use every entry of the 3 x 3 embedding matrix at S=2, so no chi "
        "solves 5.24; take fewer circuits or a larger D",
    ),
    "extrinsic at S=1": (
        lambda: cisp.superpose_extrinsic(circuits(), D=24, S=1),
        a_count("S", 1, ">= 2"),
    ),
    "extrinsic with S above n": (
        lambda: cisp.superpose_extrinsic(circuits(), D=24, S=13),
        a_count("S", 13, "in 1..12"),
    ),
    "extrinsic with a neuron that fires by itself": (
        lambda: cisp.superpose_extrinsic(
            circuits(T=2, b=torch.tensor([-1, 0.5])), D=12, S=3, L=2, allocate=cisp.prime_steps
        ),
        "b[1]=0.5 in layer 1 lets circuit 0, alone, switch on neuron 1 of position 3, which is "
        "not its own; b[1] must be at most 0",
    ),
    # tables
    "allocate gives too few rows": (
        lambda: build(allocate=lambda **_: np.array([[0, 1, 2], [3, 4, 5]])),
        "allocate gave a table of shape (2, 3); it must be (6, 3)",
    ),
    "two circuits meet twice": (
        lambda: build(allocate=meeting_twice),
        "table rows 0 and 3 share 2 positions; at most max_overlap=1 are allowed",
    ),
    "random subsets without max_overlap": (
        lambda: build(allocate=cisp.random_subsets),
        "table rows 0 and 1 share 2 positions; at most max_overlap=1 are allowed",
    ),
    "max_overlap a fraction": (
        lambda: build(max_overlap=1.5),
        a_count("max_overlap", 1.5, ">= 0"),
    ),
    "an unsorted row": (
        lambda: cisp.load(np.array([[0, 1], [3, 2]]), n=4),
        "table[1]=[3, 2]; a row must be increasing positions",
    ),
    "a position twice": (
        lambda: cisp.mean_squared_overlap(np.array([[0, 1], [2, 2]]), n=4),
        "table[1]=[2, 2]; a row must be increasing positions",
    ),
    "a position out of range": (
        lambda: cisp.check_table(np.array([[0, 1], [2, 4]]), n=4),
        "table[1, 1]=4 is not a position; these are 0..3",
    ),
    "a table of floats": (
        lambda: cisp.check_table(np.array([[0.0, 1], [2, 3]]), n=4),
        "table is of shape (2, 2) and dtype float64; it must be (T, S) integers",
    ),
    "mean_overlap of one circuit": (
        lambda: cisp.mean_overlap(np.array([[0, 1]]), n=3),
        a_count("T", 1, ">= 2"),
    ),
    "mean_squared_overlap of one circuit": (
        lambda: cisp.mean_squared_overlap(np.array([[0, 1]]), n=3),
        a_count("T", 1, ">= 2"),
    ),
    "prime_steps T=0": (lambda: cisp.prime_steps(T=0, n=5, S=2), a_count("T", 0, ">= 1")),
    "capacity at S=0": (lambda: cisp.prime_steps_capacity(n=5, S=0), a_count("S", 0, ">= 1")),
    "Johnson bound at n=0": (lambda: cisp.johnson_bound(n=0, S=1), a_count("n", 0, ">= 1")),
    "random subsets larger than n": (
        lambda: cisp.random_subsets(T=2, n=3, S=4),
        a_count("S", 4, "in 1..3"),
    ),
    # circuits
    "T=0": (lambda: cisp.conditional_rotations(T=0), a_count("T", 0, ">= 1")),
    "T=-1": (lambda: cisp.one_relu_rotations(T=-1), a_count("T", -1, ">= 1")),
    "T a fraction": (lambda: cisp.conditional_rotations(T=fraction), a_count("T", 2.5, ">= 1")),
    "T=True": (lambda: cisp.step_indicators(T=True), a_count("T", True, ">= 1")),
    "neither T nor theta": (
        lambda: cisp.conditional_rotations(),
        "T=None and theta=None; give the number of circuits or their angles",
    ),
    "theta of the wrong shape": (
        lambda: cisp.conditional_rotations(theta=torch.ones(2, 3, 4)),
        "theta has shape (2, 3, 4); it must be (T,) or (L, T)",
    ),
    "a bias of 0": (
        lambda: cisp.conditional_rotations(T=5, bias=0),
        "bias=0 is not allowed; bias must be a positive number",
    ),
    "a step without a slope": (
        lambda: cisp.conditional_rotations(T=5, gain=0),
        "gain=0 is not allowed; gain must be a positive number",
    ),
    "a threshold below 0": (
        lambda: cisp.loaded_rotations(T=5, threshold=-1),
        "threshold=-1 is not allowed; threshold must be a positive number",
    ),
    "an infinite gain": (
        lambda: cisp.step_indicators(T=5, gain=float("inf")),
        "gain=inf is not allowed; gain must be a positive number",
    ),
    "indicators with no threshold": (
        lambda: cisp.step_indicators(T=5, threshold=float("nan")),
        "threshold=nan is not allowed; threshold must be a positive number",
    ),
    "theta against T": (
        lambda: cisp.conditional_rotations(T=5, theta=torch.ones(4)),
        "theta has shape (4,); it must be (5,) or (L, 5)",
    ),
    "weights with nan": (
        lambda: circuits(w=with_entry(float("nan"))),
        "w holds nan; its entries must be finite",
    ),
    "weights with inf": (
        lambda: circuits(w=with_entry(float("-inf"))),
        "w holds -inf; its entries must be finite",
    ),
    "one matrix": (
        lambda: circuits(w=torch.eye(2)),
        "w has shape (2, 2); it must be (T, d, d) or (L, T, d, d), none 0",
    ),
    "weights not square": (
        lambda: circuits(w=torch.ones(6, 2, 3)),
        "w has shape (6, 2, 3); it must be (T, d, d) or (L, T, d, d), none 0",
    ),
    "no weights": (
        lambda: circuits(w=torch.ones(0, 2, 2)),
        "w has shape (0, 2, 2); it must be (T, d, d) or (L, T, d, d), none 0",
    ),
    "a bias for each circuit": (
        lambda: circuits(b=torch.ones(6, 2)),
        "b has shape (6, 2), a bias for each of the 6 circuits; they must share one bias vector "
        "in a layer (assumption 4'): b must be (2,) or (L, 2), the latter with w as (L, T, d, d)",
    ),
    "a bias for each circuit and layer": (
        lambda: circuits(b=torch.ones(3, 6, 2)),
        "b has shape (3, 6, 2), a bias for each of the 6 circuits; they must share one bias vector "
        "in a layer (assumption 4'): b must be (2,) or (L, 2)",
    ),
    "bias of the wrong length": (
        lambda: circuits(b=torch.ones(3)),
        "b has shape (3,); with d=2 it must be (2,) or (L, 2)",
    ),
    "weights and biases of other depths": (
        lambda: circuits(w=torch.ones(4, 6, 2, 2), b=torch.ones(3, 2)),
        "w has 4 layers but b has 3; they must agree",
    ),
    "L against the weights": (
        lambda: circuits(w=torch.ones(4, 6, 2, 2), L=3),
        "L=3 but the weights or biases are given for 4 layers",
    ),
    "a read-out of the wrong width": (
        lambda: circuits(readouts={"sum": torch.ones(2, 3)}),
        "readouts['sum'] has shape (2, 3); it must be (k, 2) or (6, k, 2)",
    ),
    "input_mean of the wrong length": (
        lambda: circuits(input_mean=torch.ones(3)),
        "input_mean has shape (3,) and input_map (2, 2); they must be (2,) and (2, k)",
    ),
    "vectors of positions that are none": (
        lambda: cisp.vectors([[0, 1], [2, 4]], n=4),
        "table[1, 1]=4 is not a position; these are 0..3",
    ),
    "vectors of no layer": (
        lambda: cisp.vectors(np.zeros((0, 5, 2), dtype=int), n=4),
        "table has shape (0, 5, 2) and dtype int64; it must be (T, S) integers",
    ),
    # gated circuits
    "gated weights with nan": (
        lambda: gate(w=torch.full((2, 3, 4, 4), torch.nan)),
        "w[0] holds nan; its entries must be finite",
    ),
    "gated biases with inf": (
        lambda: gate(b=torch.full((2, 3, 4), torch.inf)),
        "b[0] holds inf; its entries must be finite",
    ),
    "gated weights that do not follow each other": (
        lambda: gate(w=[torch.ones(3, 5, 2), torch.ones(3, 4, 4)], b=[torch.ones(3, 5)] * 2),
        "w[1] has shape (3, 4, 4) and b[1] (3, 5); they must be (3, m, 5) and (3, m)",
    ),
    "gated circuits of another number in a layer": (
        lambda: gate(w=[torch.ones(3, 4, 4), torch.ones(2, 4, 4)]),
        "w[1] has shape (2, 4, 4) and b[1] (3, 4); they must be (3, m, 4) and (3, m)",
    ),
    "one gated layer, not in a list": (
        lambda: gate(w=torch.ones(3, 4, 4), b=torch.ones(3, 4)),
        "w[0] has shape (4, 4) and b[0] (4,); they must be (T, m, m) and (T, m)",
    ),
    "gated weights without biases": (
        lambda: gate(b=torch.ones(1, 3, 4)),
        "w has 2 layers and b 1; they must agree, none 0",
    ),
    "a silencer of 0": (
        lambda: gate(bias=0.0),
        "bias=0 is not allowed; it must be positive",
    ),
    "a silencer for some neurons only": (
        lambda: gate(bias=torch.tensor([1.0, 1, -0.25, 1])),
        "bias=-0.25 is not allowed; it must be positive",
    ),
    "silencers for other neurons": (
        lambda: gate(bias=torch.ones(3)),
        "bias has shape (3,); it must be a number, (4,) or (2, 4)",
    ),
    "a silencer in words": (
        lambda: gate(bias="large"),
        "bias='large' is not allowed; bias must be an array of numbers",
    ),
    "a negative bound of signs": (
        lambda: gate(signed=-1.0),
        "signed=-1 is not allowed; it must not be negative",
    ),
    "a load of 0": (
        lambda: gate(load=0),
        "load=0 is not allowed; load must be a positive number",
    ),
    "outputs of other circuits": (
        lambda: gate(outputs=(torch.ones(2, 1, 4), torch.ones(2, 1))),
        "outputs has the shapes (2, 1, 4) and (2, 1); they must be (3, k, 4) and (3, k)",
    ),
    "gated inputs of another width": (
        lambda: gate(inputs=torch.ones(7, 6)),
        "inputs has shape (7, 6); it must be (N, 4) or (3, N, 4), "
        "or a function of (batch, z, active, rng)",
    ),
    "no modules": (
        lambda: cisp.gated_modules([]),
        "modules=[] is empty; it must hold networks",
    ),
    "modules of unequal shapes": (
        lambda: cisp.gated_modules([net(2, 8, 1), net(2, 7, 1)]),
        "modules[1] has weights [(7, 2), (1, 7)], modules[0] [(8, 2), (1, 8)]; they must be alike",
    ),
    "modules of unequal depth": (
        lambda: cisp.gated_modules([net(2, 8, 1), net(2, 8, 1, last=nn.ReLU())]),
        "modules[1] has weights [(8, 2), (1, 8)], modules[0] [(8, 2), (1, 8)]; they must be alike",
    ),
    "a module with another activation": (
        lambda: cisp.gated_modules([net(2, 8, last=nn.Tanh())]),
        "modules[0][1] is Tanh; it must be ReLU: circuits are Linear, ReLU, Linear, ReLU, ...",
    ),
    "a module with a layer that is not known": (
        lambda: cisp.gated_modules([nn.Sequential(nn.Conv1d(1, 1, 3), nn.ReLU())]),
        "modules[0][0] is Conv1d; it must be Linear: circuits are Linear, ReLU, Linear, ReLU, ...",
    ),
    "two linear layers in a row": (
        lambda: cisp.gated_modules([net(2, 8, last=nn.Linear(8, 1))]),
        "modules[0][1] is Linear; it must be ReLU: circuits are Linear, ReLU, Linear, ReLU, ...",
    ),
    "a module that is none": (
        lambda: cisp.gated_modules([nn.Linear(2, 2)]),  # type: ignore[list-item]
        "modules[0] is Linear; it must be Sequential",
    ),
    "a module without a ReLU": (
        lambda: cisp.gated_modules([net(2, 1)]),
        "modules[0] has no ReLU; a circuit needs at least one Linear and ReLU",
    ),
    "a module without layers": (
        lambda: cisp.gated_modules([nn.Sequential()]),
        "modules[0] is empty; it must hold Linear and ReLU",
    ),
    "a module with nan": (
        lambda: cisp.gated_modules([_with_nan(net(2, 8, 1))]),
        "w[0] holds nan; its entries must be finite",
    ),
    "another silencer for circuits that have no gate": (
        lambda: cisp.silenced(circuits(), torch.ones(5, 2)),
        "circuits have the read-outs []; to raise a gate they need one named 'indicator'",
    ),
    "no circuits in one": (
        lambda: cisp.concatenate([]),
        "parts=[] is empty; it must hold circuits",
    ),
    "circuits of two depths in one": (
        lambda: parts_with(w=torch.ones(3, 3, 4, 4), b=torch.ones(3, 3, 4)),
        "parts[0] and parts[1] differ in L; they must agree",
    ),
    "circuits of two silencers in one": (
        lambda: parts_with(bias=2.0),
        "parts[0] and parts[1] differ in b; they must agree",
    ),
    "circuits with other read-outs in one": (
        lambda: parts_with(outputs=(torch.ones(3, 1, 4), torch.ones(3, 1))),
        "parts[0] has the read-outs {'indicator': 1, 'state': 4}, "
        "parts[1] {'indicator': 1, 'state': 4, 'output': 1}",
    ),
    "samples and none in one": (
        lambda: parts_with(inputs=torch.ones(7, 4)),
        "parts draw inputs in different ways; give each as many samples, inputs=",
    ),
    # inputs and activations
    "z above T": (lambda: build().sample(batch=2, z=7), a_count("z", 7, "in 1..6")),
    "z=0": (lambda: circuits().sample_inputs(batch=2, z=0), a_count("z", 0, "in 1..6")),
    "batch=-1": (lambda: build().sample(batch=-1, z=2), a_count("batch", -1, ">= 1")),
    "an active circuit that is none": (
        lambda: run(torch.zeros(1, 2, 2), [[0, 6]]),
        "active holds circuit 6; circuits are 0..5",
    ),
    "a negative active circuit": (
        lambda: build().embed(torch.zeros(1, 2, 2), torch.tensor([[-1, 0]])),
        "active holds circuit -1; circuits are 0..5",
    ),
    "inputs that are none": (
        lambda: run(torch.zeros(0, 1, 2), torch.zeros(0, 1, dtype=torch.int64)),
        "batch of active=0 is not allowed; batch of active must be an integer >= 1",
    ),
    "no active circuit": (
        lambda: build().embed(torch.zeros(1, 0, 2), torch.zeros(1, 0, dtype=torch.int64)),
        "z of active=0 is not allowed; z of active must be an integer in 1..6",
    ),
    "a circuit active twice": (
        lambda: run(torch.zeros(1, 3, 2), [[2, 4, 2]]),
        "active holds circuit 2 twice in a row; each may be on once",
    ),
    "active as floats": (
        lambda: run(torch.zeros(1, 2, 2), [[0.0, 1.0]]),
        "active has shape (1, 2) and dtype torch.float32; "
        "it must be (batch, z) integers, int32 or int64",
    ),
    "active as a mask": (
        lambda: run(torch.zeros(1, 2, 2), [[True, False]]),
        "active has shape (1, 2) and dtype torch.bool; "
        "it must be (batch, z) integers, int32 or int64",
    ),
    "active without a batch": (
        lambda: run(torch.zeros(2, 2), [0, 1]),
        "active has shape (2,) and dtype torch.int64; "
        "it must be (batch, z) integers, int32 or int64",
    ),
    "a0 of the wrong width": (
        lambda: run(torch.zeros(1, 2, 3), [[0, 1]]),
        "a0 has shape (1, 2, 3); with active (1, 2) it must be (1, 2, 2)",
    ),
    "a0 of another batch": (
        lambda: build().embed(torch.zeros(4, 2, 2), torch.tensor([[0, 1]])),
        "a0 has shape (4, 2, 2); with active (1, 2) it must be (1, 2, 2)",
    ),
    "A0 with its axes swapped": (
        lambda: build()(torch.zeros(5, 12, 2)),
        "A0 has shape (5, 12, 2); it must be (batch, 2, 12)",
    ),
    "A0 flattened": (
        lambda: build()(torch.zeros(5, 24)),
        "A0 has shape (5, 24); it must be (batch, 2, 12)",
    ),
    "A with its axes swapped": (
        lambda: build().readout(torch.zeros(5, 12, 2), 1),
        "A has shape (5, 12, 2); it must be (batch, 2, 12)",
    ),
    "A0 in another precision": (
        lambda: build()(torch.zeros(5, 2, 12).double()),
        "A0 has dtype torch.float64; it must be the network's torch.float32",
    ),
    "a0 in another precision": (
        lambda: run(torch.zeros(1, 2, 2).double(), [[0, 1]]),
        "a0 has dtype torch.float64; it must be the circuits' torch.float32",
    ),
    "A with a layer missing": (
        lambda: build().readout(torch.zeros(3, 5, 2, 12), 1),
        "A has 3 layers; it must have 4, 0 to 3",
    ),
    "dense weights of a layer that is none": (
        lambda: cisp.run_dense(build(), torch.zeros(5, 2, 12), {4: torch.zeros(24, 24)}),
        a_count("layer", 4, "in 1..3"),
    ),
    "dense weights of another size": (
        lambda: cisp.run_dense(build(), torch.zeros(5, 2, 12), {2: torch.zeros(24, 12)}),
        "W[2] has shape (24, 12); it must be (24, 24)",
    ),
    # layers and circuits of a network
    "read-out of layer 0": (
        lambda: build().readout(torch.zeros(5, 2, 12), 0),
        a_count("layer", 0, "in 1..3"),
    ),
    "W of layer L+1": (lambda: build().W(4), a_count("layer", 4, "in 1..3")),
    "B of layer 0": (lambda: build().B(0), a_count("layer", 0, "in 1..3")),
    "B of layer L+1": (lambda: build().B(4), a_count("layer", 4, "in 1..3")),
    "W_emb of layer 1": (lambda: build().W_emb(1), a_count("layer", 1, "in 2..3")),
    "component of layer 0": (lambda: build().component(0, 0), a_count("layer", 0, "in 1..3")),
    "component of a circuit that is none": (
        lambda: build().component(2, 6),
        a_count("t", 6, "in 0..5"),
    ),
    # assumptions
    "z=0 in the first assumption": (
        lambda: few_are_active(circuits(), D=10, z=0),
        a_count("z", 0, ">= 1"),
    ),
    "biases without circuits": (
        lambda: biases_agree(torch.ones(3)),
        "b has shape (3,); it must be (T, d) or (L, T, d)",
    ),
    "no indicator to keep": (
        lambda: noise_is_not_amplified(circuits(), keep_indicator=True),
        "keep_indicator=True needs a read-out named 'indicator'; these circuits have []",
    ),
    "theta of other circuits": (
        lambda: circuits(theta=torch.zeros(7)),
        "theta has shape (7,); it must be (6,) or (5, 6)",
    ),
    "a read-out of nothing": (
        lambda: circuits(readouts={"x": torch.zeros(0, 2)}),
        "readouts['x'] has shape (0, 2); it must be (k, 2) or (6, k, 2)",
    ),
    "circuits as integers": (
        lambda: circuits().to(torch.int64),
        "target=torch.int64 is not allowed; it must be a floating dtype",
    ),
    "active as a list": (
        lambda: circuits().run(torch.zeros(1, 1, 2), [[0]]),  # type: ignore[arg-type]
        "active is a list; it must be a torch.Tensor",
    ),
    "an overlap too large to check": (
        lambda: cisp.check_table(np.arange(10)[None], n=250, max_overlap=8),
        "max_overlap=8 cannot be checked at n=250; it must be smaller, or 10 to allow any",
    ),
    # density evolution
    "too few circuits to predict": (
        lambda: predict(T=3, z=2),
        "T=3 is too small for z=2; T must be at least z + 2 = 4",
    ),
    "predict one circuit": (lambda: predict(T=1), a_count("T", 1, ">= 2")),
    "predict with z=0": (lambda: predict(z=0), a_count("z", 0, ">= 1")),
    "predict no layer": (lambda: predict(L=0), a_count("L", 0, "in 1..10000")),
    "predict with D not divisible by d": (
        lambda: predict(D=98),
        "D=98 is not divisible by d=4; D must be a multiple of 4",
    ),
    "predict beyond the capacity": (
        lambda: predict(D=24),
        "T=8 exceeds the 2 circuits that prime_steps can place at n=6, S=3; "
        "transversal_design can place 2",
    ),
    "a gain of 0": (
        lambda: predict(gain=0),
        "gain=0 is not allowed; gain must be a positive number",
    ),
    "a gain of nan": (
        lambda: predict(gain=float("nan")),
        "gain=nan is not allowed; gain must be a positive number",
    ),
    "a negative threshold": (
        lambda: predict(threshold=-0.5),
        "threshold=-0.5 is not allowed; threshold must be a positive number",
    ),
    "predict with a table of another S": (
        lambda: predict(table=cisp.prime_steps(T=8, n=24, S=2)),
        "table has shape (8, 2); it must be (T, S) = (8, 3)",
    ),
    "predict with a table of another T": (
        lambda: predict(table=cisp.prime_steps(T=7, n=24, S=3)),
        "table has shape (7, 3); it must be (T, S) = (8, 3)",
    ),
    "predict with a table beyond D": (
        lambda: predict(D=92, table=cisp.prime_steps(T=8, n=24, S=3)),
        "table[7, 2]=23 is not a position; these are 0..22",
    ),
    "predict where no chi balances": (
        lambda: predict(T=3, D=12, S=2, table=all_pairs()),
        "T=3 circuits use every entry of the embedding matrix at S=2, so no chi solves 5.24; "
        "take fewer circuits or a larger D",
    ),
    "the tail of other circuits": (
        lambda: predict().tail(0.5, layer=1, circuits="on"),  # type: ignore[arg-type]
        "circuits='on' is not allowed; it must be one of ['inactive', 'active']",
    ),
    "the largest of other circuits": (
        lambda: predict().largest(5, layer=1, circuits="all"),  # type: ignore[arg-type]
        "circuits='all' is not allowed; it must be one of ['inactive', 'active']",
    ),
    "the tail in layer 2 of 1": (
        lambda: predict().tail(0.5, layer=2),
        a_count("layer", 2, "in 1..1"),
    ),
    "the largest in layer 0": (
        lambda: predict().largest(5, layer=0),
        a_count("layer", 0, "in 1..1"),
    ),
    "the largest of none": (
        lambda: predict().largest(0, layer=1),
        a_count("readouts", 0, ">= 1"),
    ),
    "the largest of half a read-out": (
        lambda: predict().largest(fraction, layer=1),
        a_count("readouts", 2.5, ">= 1"),
    ),
    # tables of measurements
    "rows of a column that is none": (
        lambda: cisp.rows(ERRORS, quantities="rotation"),
        "no column 'quantities'; the table has 'quantity', 'z'",
    ),
    "rows of a value that does not occur": (
        lambda: cisp.rows(ERRORS, quantity="vector"),
        "quantity='vector' does not occur; quantity is 'indicator', 'rotation'",
    ),
    "rows of a value that does not occur, among some that do": (
        lambda: cisp.rows(ERRORS, z=[1, 12]),
        "z=12 does not occur; z is 0, 1, 2, 3, 4, 5, 6, 7 and 2 more",
    ),
    # experiments
    "measure a word": (
        lambda: run_experiment(samples="every"),
        "samples='every' is not allowed; it must be a number of inputs or \"all\"",
    ),
    "measure with z beyond T": (lambda: run_experiment(z=7), a_count("z", 7, "in 1..6")),
    "measure pairs without saying how many": (
        lambda: run_experiment(z=2),
        'samples=None needs z=1, but z=2; give a number of inputs or "all"',
    ),
    "measure a negative number of inputs": (
        lambda: run_experiment(samples=-5),
        a_count("samples", -5, ">= 1"),
    ),
    "measure in empty batches": (lambda: run_experiment(batch=0), a_count("batch", 0, ">= 1")),
    "the worst of a word": (
        lambda: worst(samples="every"),
        "samples='every' is not allowed; it must be a number of sets or \"all\"",
    ),
    "the worst of no set": (lambda: worst(samples=0), a_count("samples", 0, ">= 1")),
    "the worst with z beyond T": (lambda: worst(z=7), a_count("z", 7, "in 1..6")),
    "the worst from a layer on that is none": (
        lambda: worst(first=4),
        a_count("first", 4, "in 1..3"),
    ),
    "the worst with no set kept": (lambda: worst(keep=0), a_count("keep", 0, ">= 1")),
    "the worst without a start": (lambda: worst(starts=0), a_count("starts", 0, "in 1..100000")),
    "the worst in half a step": (
        lambda: worst(steps=fraction),
        a_count("steps", 2.5, "in 0..100000"),
    ),
    "the worst with fewer swaps than none": (
        lambda: worst(swaps=-1),
        a_count("swaps", -1, "in 0..100000"),
    ),
    "a silence that there is not": (
        lambda: cisp.superpose_extrinsic(circuits(), D=24, S=2, silence="loud"),  # type: ignore[arg-type]  # wrong on purpose
        "silence='loud' is not allowed; it must be one of ['given', 'auto']",
    ),
    "the least silence beside a mean of one's own": (
        lambda: cisp.superpose_extrinsic(
            circuits(), D=24, S=2, silence="auto", w_mean=torch.zeros(2, 2)
        ),
        'w_mean is given, but silence="auto" changes it; give one of them',
    ),
    "calls in the post's network": (
        lambda: calling(network=build()),
        "network has the wiring Dealt with S=3; it must be one of superpose_exact for z=2",
    ),
    "calls of a circuit that there is not": (
        lambda: calling(calls=torch.tensor([[0, 6]])),
        a_count("calls", 6, "in 0..5"),
    ),
    "calls in the last layer": (
        lambda: calling(layer=4),
        a_count("layer", 4, "in 2..3"),
    ),
    "a call that starts a circuit too high": (
        lambda: calling(start=torch.tensor([1.0, 9])),
        "start=[1.0, 9.0]; it must be 2 values in 0..4.4",
    ),
    "the worst of another quantity": (
        lambda: worst(quantity="rotation"),
        "quantity='rotation' is not allowed; it must be one of ['activations']",
    ),
    "an error of 0 that is enough": (
        lambda: worst(enough=0),
        "enough=0 is not allowed; enough must be a positive number",
    ),
    "a cell of a sweep without a seed": (
        lambda: cisp.sweep([{"T": 5, "D": 40, "S": 2, "z": 1}]),
        "cell={'T': 5, 'D': 40, 'S': 2, 'z': 1} has keys ['D', 'S', 'T', 'z']; "
        "they must be ['T', 'D', 'S', 'z', 'seed']",
    ),
}


@pytest.mark.parametrize(("call", "message"), TABLE.values(), ids=TABLE)
def test_bad_input_is_named_with_its_value_and_what_is_allowed(
    call: Callable[[], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # users run without the shape checks that the tests switch on, and meet these messages instead
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message


WIDE = cisp.superpose(circuits(), D=10**6, S=3, L=2)
MANY = cisp.superpose(cisp.conditional_rotations(T=557), D=1000, S=6)
WIDE_ROWS = np.arange(2000).reshape(2, 1000)

# sizes that no machine of 8 GB has room for, or that would never end: what is called, who is named
TOO_LARGE: dict[str, tuple[Callable[[], object], str]] = {
    "circuits": (lambda: cisp.conditional_rotations(T=10**9), "T"),
    "indicators": (lambda: cisp.step_indicators(T=10**9), "T"),
    "rows": (lambda: cisp.random_subsets(T=10**9, n=10, S=3), "T"),
    "rows of a design": (lambda: cisp.transversal_design(T=10**9, n=10**6, S=3), "T"),
    "rows in steps": (lambda: cisp.prime_steps(T=10**9, n=10**6, S=3), "T"),
    "rows without triangles": (lambda: cisp.triangle_free(T=10**6, n=10**7, S=3), "n"),
    "positions": (lambda: cisp.prime_steps_capacity(n=10**10, S=3), "n"),
    "positions of a design": (lambda: cisp.transversal_design_capacity(n=10**30, S=3), "n"),
    "loads": (lambda: cisp.load([[0, 1]], n=10**10), "n"),  # type: ignore[arg-type]
    "vectors": (lambda: cisp.vectors(WIDE_ROWS, n=10**9), "n"),
    "overlaps": (lambda: cisp.check_table(WIDE_ROWS, n=2000, max_overlap=4), "max_overlap"),
    "a network": (lambda: build(D=10**10), "D"),
    "an extrinsic network": (lambda: cisp.superpose_extrinsic(circuits(), D=10**10, S=3), "D"),
    "an exact network": (
        lambda: cisp.superpose_exact(cisp.conditional_rotations(T=6), D=10**10),
        "D",
    ),
    "layers": (lambda: build(L=10**9), "L"),
    "dense weights": (lambda: WIDE.W(2), "D"),
    "dense weights of the first layer": (lambda: WIDE.W(1), "D"),
    "dense weights that are shared": (lambda: WIDE.shared(2), "D"),
    "a circuit's own dense weights": (lambda: WIDE.component(2, 0), "D"),
    "an embedding matrix": (lambda: WIDE.W_emb(2), "n"),
    "inputs": (lambda: MANY.sample(batch=10**10, z=2), "batch"),
    "places among all": (lambda: cisp.is_active(torch.tensor([[0]]), T=10**10), "T"),
    "draws": (
        lambda: cisp.plan(circuits(readouts={"x": torch.ones(1, 2)}), D=24, z=2, draws=10**10),
        "draws",
    ),
    "all sets": (lambda: cisp.measure(MANY, z=5, samples="all"), "samples"),
    "all sets, with other neurons off": (
        lambda: cisp.measure_masked(MANY, z=5, samples="all"),
        "samples",
    ),
    "all sets, unasked": (lambda: cisp.worst_case(MANY, z=5), "samples"),
    "steps": (lambda: worst(steps=10**30), "steps"),
    "swaps": (lambda: worst(swaps=10**30), "swaps"),
    "starts": (lambda: worst(starts=10**30), "starts"),
    "layers to predict": (lambda: predict(L=10**9), "L"),
    "positions to predict": (lambda: predict(D=4 * 10**10), "n"),
    "positions where circuits join": (
        lambda: cisp.theory.derived_extrinsic_active(
            np.arange(6).reshape(2, 3), n=10**6, z=2, layer=2
        ),
        "n",
    ),
    "circuits on an entry": (lambda: cisp.theory.derived_noise_return(T=10**9, n=250, S=6), "T"),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_would_never_end_is_refused_at_once_and_says_why(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.setattr(cisp.arguments, "memory", lambda: 8 * 10**9)
    call, argument = TOO_LARGE[name]
    with pytest.raises(ValueError, match=rf"(?<!\w){argument}=") as error:
        call()
    assert re.search(r"must be smaller|in \d+\.\.|at most", str(error.value))
    assert len(str(error.value)) <= 300


def test_this_machine_knows_its_memory() -> None:
    assert 2**28 < cisp.arguments.memory() < 2**50


def test_the_tests_check_shapes_at_run_time() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="A0"):
        build()(torch.zeros(5, 24))
