"""Every argument of every public function, given what it must not be: a clear refusal, at once."""

import re
from collections.abc import Callable
from fractions import Fraction
from tempfile import mkdtemp
from typing import Any

import jaxtyping
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import cisp
from cisp import assumptions
from cisp.calls import with_calls
from cisp.neighbours import cost

LONGEST = 300

circuits = cisp.conditional_rotations(T=6, bias=2)
network = cisp.superpose(circuits, D=48, S=3, L=3)
exact = cisp.superpose_exact(cisp.conditional_rotations(theta=np.ones((4, 6))), D=45, M=8.8)
table = cisp.prime_steps(T=6, n=12, S=3)
active, a0 = network.sample(batch=5, z=2, rng=1)
with torch.no_grad():
    a = circuits.with_layers(3).run(a0, active)
    A0 = network.embed(a0, active)
    A = network(A0)
predicted = cisp.density_evolution(T=8, D=96, S=3, z=1, L=1)

COUNTS, FLAGS = (exact.get_buffer(f"wiring.{name}") for name in ("counts", "flags"))

# what no count is; what no number is
NO_INTEGER = [2.5, float("nan"), "3", True, np.True_, torch.tensor(True), [3], 1j, Fraction(5, 2)]
NO_INTEGER += [np.int16(3), np.uint8(3), torch.tensor(3)]  # too narrow to reckon with, or no number
TOO_FINE = [1e39, 1e-46]  # for float32
NO_NUMBER = [float("nan"), float("inf"), "2", True, np.True_, 1j, [1.0], torch.tensor(2.0), 10**400]
WRONG = ["x", 7, [], object()]  # instead of an object of one of our classes

TENSORS = [None, "x", 2.5, [1.0, 2.0], {}, object()]


def imaginary(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, dtype=torch.complex64)


def spoiled(value: torch.Tensor) -> list[object]:
    """Shapes that would broadcast or fail late, and entries of another kind."""
    double = torch.float32 if value.dtype == torch.float64 else torch.float64
    return [
        *TENSORS,
        value.numpy(),
        value[..., :1],
        value[:0],
        value.unsqueeze(0).unsqueeze(0),
        value.to(double),
        value.to(torch.complex64),
        value != 0,
    ]


ACTIVE = [
    *TENSORS,
    active.numpy(),
    active.float(),
    active.bool(),
    active.T,
    active[0],
    active[:0],
    active[:, :0],
    active[:, :1].expand(-1, 2),
    active + 5,
    active - 6,
    active.to(torch.int8),
]
TABLES = [
    None,
    "x",
    3,
    [[0, 1], [2]],
    [["a", "b"]],
    table.astype(float),
    table.astype(bool),
    table.astype(complex),
    table.astype(object),
    table[0],
    table[:0],
    table[:, :0],
    table[:, ::-1],
    table[None, None],
    table * 0,
    table + 1000,
    table - 1,
]
# a table's mistakes are those of an allocation
ALLOCATIONS: list[Any] = [
    None,
    3,
    "prime_steps",
    *((lambda each: lambda **_: each)(t) for t in TABLES),
]

PATCHES: list[Any] = [
    *(3, "x", torch.relu, torch.ones(3), [torch.relu], {2: None}, {0: torch.relu}),
    *({4: torch.relu}, {2: lambda A: A[:1]}, {2: lambda A: None}, {2: lambda A: A.double()}),
]

KINDS: dict[str, list[Any]] = {
    "count": [*NO_INTEGER, None, 0, -1],
    "count or 0": [*NO_INTEGER, None, -1],
    "count or none": [*NO_INTEGER, 0, -1],
    "number": [*NO_NUMBER, None, 0, -1],
    "held": [*NO_NUMBER, *TOO_FINE, None, 0, -1],
    "number or 0": [*NO_NUMBER, None, -1],
    "number or none": [*NO_NUMBER, 0, -1],
    "any number": [*NO_NUMBER, None],
    "share": [*NO_NUMBER, -1, 1.5],
    "seed": [
        None,
        -1,
        1.5,
        "0",
        True,
        np.random.RandomState(0),
        [1, -2],
        [],
        (1, "2"),
        torch.tensor(1),
    ],
    "flag": ["yes", 1, []],
    "dtype": [torch.int64, torch.complex64, torch.bool, "float32", float, np.float32, 3],
    "device": ["gpu", "cuda:99", 3.5, [], torch.float32],
    "table": TABLES,
    "allocate": ALLOCATIONS,
    "network": [None, *WRONG, circuits, nn.Linear(2, 2), network.state_dict()],
    "circuits": [None, *WRONG, network, circuits.w, [circuits]],
    "active": ACTIVE,
    "callable": [None, 3, "relu"],
    "word": ["other", 3, None, []],
}

Given = dict[str, tuple[Any, Any]]  # a good value, and bad ones or their kind
Good = tuple[Callable[..., object], Given]
T, D, d, S, z, n = ((v, "count") for v in (6, 48, 4, 3, 2, 12))
L, layer, batch = (3, "count"), (2, "count"), (5, "count")
RNG = (0, "seed")
NET, CIRCUITS, TABLE = (network, "network"), (circuits, "circuits"), (table, "table")
ON, A_, a_, a0_ = (active, "active"), (A, spoiled(A)), (a, spoiled(a)), (a0, spoiled(a0))
HELD = (1.0, "held")
ONE, ZERO, SHARE = (1.0, "number"), (1.0, "number or 0"), (0.1, "share")
DTYPE = (None, "dtype")
SIZES = {"T": T, "D": D, "d": d, "S": S}

WHOLE = [v for v in NO_NUMBER if v != float("inf")] + [None, -1, 1.5]
CALLS: dict[str, Good] = {
    # tables
    "prime_steps": (cisp.prime_steps, {"T": T, "n": n, "S": S}),
    "prime_steps_capacity": (cisp.prime_steps_capacity, {"n": n, "S": S}),
    "transversal_design": (cisp.transversal_design, {"T": T, "n": n, "S": S}),
    "transversal_design_capacity": (cisp.transversal_design_capacity, {"n": n, "S": S}),
    "triangle_free": (cisp.triangle_free, {"T": T, "n": n, "S": S}),
    "triangle_free_capacity": (cisp.triangle_free_capacity, {"n": n, "S": S}),
    "johnson_bound": (cisp.johnson_bound, {"n": n, "S": S}),
    "random_subsets": (cisp.random_subsets, {"T": T, "n": n, "S": S, "rng": RNG}),
    "check_table": (cisp.check_table, {"table": TABLE, "n": n, "max_overlap": (1, WHOLE)}),
    "vectors": (cisp.vectors, {"table": TABLE, "n": n}),
    "load": (cisp.load, {"table": TABLE, "n": n}),
    "mean_overlap": (cisp.mean_overlap, {"table": TABLE, "n": n}),
    "mean_squared_overlap": (cisp.mean_squared_overlap, {"table": TABLE, "n": n}),
    # circuits
    "conditional_rotations": (
        cisp.conditional_rotations,
        {"T": T, "bias": HELD, "gain": HELD, "threshold": HELD, "rng": RNG, "dtype": DTYPE},
    ),
    "conditional_rotations by angle": (
        cisp.conditional_rotations,
        {"theta": ([1.0, 2.0], ["x", [[[1.0]]], [], {}, [1j], [float("nan")], [[1.0], [1.0, 2]]])},
    ),
    "loaded_rotations": (
        cisp.loaded_rotations,
        {
            **{"L": L, "T": T, "bias": HELD, "gain": HELD},
            **{"threshold": HELD, "rng": RNG, "dtype": DTYPE},
        },
    ),
    "step_indicators": (
        cisp.step_indicators,
        {"T": T, "gain": HELD, "threshold": HELD, "dtype": DTYPE},
    ),
    "one_relu_rotations": (cisp.one_relu_rotations, {"T": T, "rng": RNG, "dtype": DTYPE}),
    "SmallCircuits": (
        cisp.SmallCircuits,
        {
            "w": (torch.ones(3, 2, 2), [*TENSORS, imaginary(3, 2, 2), torch.ones(3, 2)]),
            "b": (
                torch.ones(2),
                [None, "x", 2.5, {}, imaginary(2), 1e39 * torch.ones(2).double()],
            ),
            "readouts": (
                {"x": torch.ones(1, 2)},
                [None, 3, [1], {"x": 3}, {1: torch.ones(1, 2)}, {"x": imaginary(1, 2)}],
            ),
            "theta": (None, ["x", torch.ones(4), imaginary(3)]),
            "L": (3, "count or none"),
            "input_mean": (None, ["x", torch.ones(3), imaginary(2)]),
            "input_map": (None, ["x", torch.ones(3), imaginary(2, 2), torch.ones(2, 0)]),
            "inputs": (None, ["x", torch.ones(3), imaginary(4, 2), torch.ones(0, 2)]),
        },
    ),
    "SmallCircuits.at": (circuits.at, {"layer": layer}),
    "SmallCircuits.to": (
        circuits.to,
        {"target": (torch.float64, [*KINDS["device"][:3], torch.int64, None])},
    ),
    "SmallCircuits.with_layers": (circuits.with_layers, {"L": L}),
    "SmallCircuits.quantities": (
        circuits.quantities,
        {"a": (a, [*TENSORS, a[..., :1], a.double(), a.to(torch.complex64)])},
    ),
    "SmallCircuits.sample_inputs": (
        circuits.sample_inputs,
        {"batch": batch, "z": z, "rng": RNG},
    ),
    "SmallCircuits.run": (circuits.run, {"a0": a0_, "active": ON}),
    "gated": (
        cisp.gated,
        {
            "w": (torch.ones(2, 3, 4, 4), [None, "x", 3, [], imaginary(2, 3, 4, 4)]),
            "b": (torch.ones(2, 3, 4), [None, "x", 3, [], imaginary(2, 3, 4)]),
            "bias": (1.0, ["x", None, 0, -1, float("nan"), 1j, True, torch.ones(3)]),
            "signed": (0.0, ["x", None, -1, float("nan"), 1j, True, torch.ones(3)]),
            "gain": ONE,
            "threshold": ONE,
            "load": (None, "number or none"),
            "inputs": (None, ["x", torch.ones(3), imaginary(4, 4)]),
            "outputs": (None, ["x", 3, (1, 2), (torch.ones(3, 1, 4),), torch.ones(3, 1, 4)]),
        },
    ),
    "gated_modules": (
        cisp.gated_modules,
        {"modules": ([nn.Sequential(nn.Linear(2, 2), nn.ReLU())], [None, 3, [], ["x"], "x"])},
    ),
    "silenced": (
        cisp.silenced,
        {
            "circuits": CIRCUITS,
            "bias": (torch.ones(5, 4), [*TENSORS, torch.ones(4), imaginary(5, 4)]),
        },
    ),
    "concatenate": (cisp.concatenate, {"parts": ([circuits], [None, [], 3, ["x"], circuits.w])}),
    "check_assumptions": (cisp.check_assumptions, {"circuits": CIRCUITS, "D": D, "z": z}),
    "few_are_active": (assumptions.few_are_active, {"circuits": CIRCUITS, "D": D, "z": z}),
    **{
        name: (getattr(assumptions, name), {"circuits": CIRCUITS})
        for name in (
            "inactive_ignore_noise",
            "inactive_stay_zero",
            "weights_are_uncorrelated",
            "leaks_are_silenced",
        )
    },
    "noise_is_not_amplified": (
        assumptions.noise_is_not_amplified,
        {"circuits": CIRCUITS, "keep_indicator": (True, [])},
    ),
    "biases_agree": (
        assumptions.biases_agree,
        {"b": (torch.ones(3, 2), [*TENSORS, torch.ones(2)])},
    ),
    "rows": (
        lambda table: cisp.rows(table, z=2),
        {"table": (pd.DataFrame({"z": [1, 2]}), [None, 3, "x", [], {"z": [1, 2]}, np.ones(2)])},
    ),
    # networks
    "superpose": (
        cisp.superpose,
        {
            **{"circuits": CIRCUITS, "D": D, "S": S, "L": (None, "count or none"), "rng": RNG},
            "allocate": (cisp.prime_steps, "allocate"),
            "w_mean": (None, ["x", 3, torch.ones(4), imaginary(4, 4)]),
            "max_overlap": (1, WHOLE),
        },
    ),
    "superpose_extrinsic": (
        cisp.superpose_extrinsic,
        {
            **{"circuits": CIRCUITS, "D": D, "S": S, "L": (2, "count or none"), "rng": RNG},
            "allocate": (cisp.transversal_design, "allocate"),
            "w_mean": (None, ["x", 3, torch.ones(4), imaginary(4, 4)]),
            "silence": ("auto", "word"),
        },
    ),
    "superpose_exact": (
        cisp.superpose_exact,
        {
            **{"circuits": CIRCUITS, "D": (90, "count"), "z": z, "L": (2, "count or none")},
            **{"rng": RNG, "M": (None, "number or none")},
        },
    ),
    "Dealt": (
        cisp.Dealt,
        {
            "tables": (
                network.tables,
                [*TENSORS, *spoiled(network.tables)[8:], network.tables * 0],
            ),
            "chi": (None, ["x", torch.ones(2), torch.ones(3) * torch.nan, imaginary(3)]),
            "n": n,
        },
    ),
    "Extrinsic": (
        cisp.Extrinsic,
        {
            "tables": (network.tables[:1].repeat(3, 1, 1), [*TENSORS, network.tables * 0]),
            "chi": (None, ["x", torch.ones(2), torch.ones(3) * torch.nan, imaginary(3)]),
            "n": n,
        },
    ),
    "Channels": (
        cisp.Channels,
        {
            "tables": (exact.tables, [*TENSORS, exact.tables * 0]),
            "counts": (
                COUNTS,
                [*TENSORS, COUNTS[:2], COUNTS[0]],
            ),
            "flags": (
                FLAGS,
                [*TENSORS, FLAGS[:2], FLAGS[0]],
            ),
            "n": (exact.n, "count"),
        },
    ),
    "Network": (
        cisp.Network,
        {
            "circuits": CIRCUITS,
            "wiring": (network.wiring, [None, 3, network, table]),
            "w_mean": (None, ["x", 3, torch.ones(4), imaginary(4, 4)]),
        },
    ),
    "Network.sample": (network.sample, {"batch": batch, "z": z, "rng": RNG}),
    "Network.embed": (network.embed, {"a0": a0_, "active": ON}),
    "Network.forward": (network, {"A0": (A0, spoiled(A0)), "patch": ({}, PATCHES)}),
    "Network.stream": (
        lambda A0, patch: list(network.stream(A0, patch)),
        {
            "A0": (A0.permute(2, 1, 0), [*TENSORS, A0, A0.permute(2, 1, 0).double()]),
            "patch": ({2: torch.relu}, PATCHES),
        },
    ),
    "Network.readout": (network.readout, {"A": A_, "layer": layer}),
    "Network.W_emb": (network.W_emb, {"layer": layer}),
    "Network.W": (network.W, {"layer": layer}),
    "Network.B": (network.B, {"layer": layer}),
    "Network.mean": (network.mean, {"layer": layer}),
    "Network.shared": (network.shared, {"layer": layer}),
    "Network.component": (network.component, {"layer": layer, "t": (0, "count or 0")}),
    "run_dense": (
        cisp.run_dense,
        {
            "network": NET,
            "A0": (A0, spoiled(A0)),
            "W": (
                {2: torch.ones(48, 48)},
                [3, "x", {2: torch.ones(48, 48).double()}, {2: 1.0}],
            ),
            "activate": (torch.relu, [*KINDS["callable"], lambda A: A[:1], lambda A: None]),
        },
    ),
    "with_calls": (
        with_calls,
        {
            "network": (exact, KINDS["network"]),
            "calls": (
                torch.tensor([[0, 1]]),
                [*TENSORS, torch.tensor([0, 1]), torch.tensor([[0.0, 1]]), torch.tensor([[0, 9]])],
            ),
            "layer": layer,
            "start": (torch.ones(2), [*TENSORS, torch.ones(1), torch.ones(2) * torch.nan]),
        },
    ),
    # read-outs
    "of_active": (cisp.of_active, {"values": (torch.ones(5, 6), TENSORS), "active": ON}),
    "among_all": (
        cisp.among_all,
        {"values": (torch.ones(5, 2), [*TENSORS, torch.ones(5, 1)]), "active": ON, "T": T},
    ),
    "is_active": (cisp.is_active, {"active": ON, "T": T}),
    "estimates": (cisp.estimates, {"network": NET, "A": A_, "layer": layer}),
    "errors": (
        cisp.errors,
        {"network": NET, "A": A_, "a": a_, "active": ON, "layer": layer},
    ),
    "mse_active": (cisp.mse_active, {"network": NET, "A": A_, "a": a_, "active": ON}),
    "error_budget": (
        cisp.error_budget,
        {"network": NET, "A": A_, "a": a_, "active": ON, "layer": layer},
    ),
    # experiments
    "plan": (
        cisp.plan,
        {
            **{"circuits": CIRCUITS, "D": D, "z": z, "error": (None, "number or none")},
            "S": ([3], [None, 3, "34", [2.5], [0], [True]]),
            "draws": (64, "count"),
            "rng": RNG,
        },
    ),
    "worst_case": (
        cisp.worst_case,
        {
            **{"network": NET, "z": z, "samples": (5, [*KINDS["count"], "every"])},
            "quantity": ("rotation", ["x", 3, []]),
            **{"first": (1, "count"), "keep": (3, "count"), "starts": (2, "count")},
            **{"steps": (1, "count or 0"), "swaps": (1, "count or 0")},
            **{"enough": (None, "number or none"), "rng": RNG, "progress": (False, "flag")},
        },
    ),
    # predictions
    "density_evolution": (
        cisp.density_evolution,
        {
            **{"T": (8, "count"), "D": (96, "count"), "S": S, "z": z, "L": (1, "count")},
            "d": (4, [*KINDS["count"], 3, 2, 8]),
            "table": (None, TABLES[1:]),
            **{"gain": ONE, "threshold": ONE},
        },
    ),
    "DensityEvolution.tail": (
        predicted.tail,
        {"value": (0.5, "any number"), "layer": (1, "count"), "circuits": ("active", "word")},
    ),
    "DensityEvolution.largest": (
        predicted.largest,
        {"readouts": (5, "count"), "layer": (1, "count"), "circuits": ("active", "word")},
    ),
}

for name in ("measure", "measure_masked"):
    CALLS[name] = (
        getattr(cisp, name),
        {
            "network": NET,
            "z": (2, [*KINDS["count"], 7, {}, {1: -1}, {1: float("nan")}, {2.5: 1}, {7: 1}]),
            "samples": (5, [*KINDS["count"], "every"]),
            **{"rng": RNG, "device": (None, "device"), "batch": (None, "count or none")},
            "progress": (False, "flag"),
        },
    )

Q = {"q": (0.1, "share")}
CALLS["measure"][1]["model"] = (None, [3, "x", torch.ones(2), lambda A: A, lambda A: [A[:1]] * 3])

BED = cisp.Testbed(network, z=2, layer=2)
BEDS = (BED, [None, *WRONG, network])
Z = (2, [*NO_INTEGER, None, -1, 7, {}, {1: -1}, {1: 0}, {1: float("nan")}, {2.5: 1}, {7: 1}])
PARTS = torch.ones(48, 5), torch.ones(5, 48)
CALLS |= {
    "Testbed": (cisp.Testbed, {"network": NET, "z": Z, "layer": (None, "count or none")}),
    "Testbed.sample": (BED.sample, {"batch": batch, "rng": RNG}),
    "Testbed.stream": (BED.stream, {"batch": batch, "rng": RNG}),
    "Testbed.dataset": (BED.dataset, {"batch": batch, "rng": (0, "count or 0")}),
    "Testbed.directions": (BED.directions, {"layer": (2, "count or none")}),
    "Testbed.subspaces": (BED.subspaces, {"layer": (2, "count or none")}),
    "Testbed.components": (BED.components, {"layer": (2, [*KINDS["count or none"], 1])}),
    "bernoulli": (
        cisp.testbed.bernoulli,
        {
            "p": (0.1, [*NO_NUMBER[:3], 1j, None, -1, 1.5, np.ones((2, 2)), np.ones(3) * 2]),
            **{"correlation": (0, "share"), "group": (10, "count")},
        },
    ),
    "zipf": (
        cisp.testbed.zipf,
        {
            **{"mean": (1.0, [*NO_NUMBER, None, -1, 7]), "T": (6, "count")},
            **{"exponent": (1, "any number"), "correlation": (0, "share"), "group": (10, "count")},
        },
    ),
    "recovery": (
        cisp.recovery,
        {
            **{"bed": BEDS, "layer": (2, "count or none"), "samples": (50, "count"), "rng": RNG},
            "decoder": (PARTS[1], [3, "x", torch.ones(5, 47), torch.ones(48), imaginary(5, 48)]),
            "encode": (torch.abs, [3, "x", lambda A: A[0], lambda A: None, lambda A: A[:3]]),
            "pieces": (
                PARTS,
                [3, "x", PARTS[0], (PARTS[0],), (3, 4), PARTS[::-1], (PARTS[0], "x")],
            ),
        },
    ),
    "reference": (
        cisp.reference,
        {
            "name": ("rotations-100", [None, 3, "x", []]),
            "layer": (2, "count or none"),
            "z": (2, ["x", -1, {}]),
        },
    ),
    "export": (
        lambda bed, folder: cisp.testbed.export(bed, folder or mkdtemp(), samples=2),
        {"bed": BEDS, "folder": ("", [3, [1], object()])},
    ),
}

POST: dict[str, Given] = {
    "mean_squared_overlap": SIZES,
    "mse_inactive_leading": {"D": D, "d": d, "z": z, "a_squared": ZERO},
    "mse_inactive": {**SIZES, "z": z, "a_squared": ZERO, **Q},
    "mse_self_of_layers": {"T": T, "q": SHARE, "q_before": SHARE, "delta_w_a": ZERO},
    "mse_self": {**SIZES, "delta_w_a": ZERO, **Q},
    "mse_others_delta_w": {**SIZES, "z": z, "delta_w_a": ZERO, "delta_w_own": ZERO, **Q},
    "mse_others_w_mean": {**SIZES, "z": z, "w_mean_a": ZERO, **Q},
    "mse_others": {**SIZES, "z": z, "w_a": ZERO, "w_own": ZERO, **Q},
    "mse_active": {
        **{**SIZES, "z": z, "layer": layer, "delta_w_a": ZERO},
        **{"w_mean_a": ZERO, "w_own": ZERO, **Q},
    },
    "mse_indicator_active": {**SIZES, "z": z, "layer": layer},
    "mse_indicator_inactive": {**SIZES, "z": z, "layer": layer, **Q},
    "mse_rotation_active": {**SIZES, "z": z, "layer": layer, **Q},
    "mse_rotation_inactive": {**SIZES, "z": z, "layer": layer, **Q},
    "derived_first_layer": {"table": TABLE, "n": n, "z": z},
    "derived_others_w_mean": {"table": TABLE, "n": n, "z": z, "w_mean_a": ZERO},
    "derived_self_adjacent": {"table": TABLE, "n": n},
    "derived_rotation_active": {"table": TABLE, "n": n, "z": z, "layer": layer},
    "derived_noise_variance": {"T": T, "n": n, "S": S, "z": z},
    "derived_noise_return": {"T": T, "n": n, "S": S},
    "derived_critical_exponent": {"S": S, "L": (3, [*KINDS["count"], 2])},
    "derived_embedding_mean": {"table": TABLE, "n": n, "chi": (0.1, "any number")},
    "derived_outliers": {"table": TABLE, "n": n},
    "derived_extrinsic_active": {"table": TABLE, "n": n, "z": z, "layer": layer},
    "derived_exact_probability": {"T": T, "q": (3, "count"), "z": z},
}
CALLS |= {f"theory.{name}": (getattr(cisp.theory, name), each) for name, each in POST.items()}

CODE = np.array([[1.0, 0], [0, 1], [0.6, 0.8]])
CODES = (CODE, [None, "x", 3, CODE[0], CODE[:1], 2 * CODE, CODE.astype(int), CODE + 0j, [[1.0]]])
BARE = [*TABLES[:12], *TABLES[13:]]  # but for rows that are not in order
Q_ = (0.1, [*NO_NUMBER, None, -1, 1.5])
COST: dict[str, Given] = {
    "random_code": {"T": T, "n": n, "rng": RNG},
    "optimised_code": {
        **{"T": T, "n": n, "steps": (1, "count or 0"), "rng": RNG},
        "power": (2, [*KINDS["count"], 3]),
    },
    "table_code": {"table": (table, BARE), "n": n, "rng": (0, KINDS["seed"][1:])},
    "interference": {"code": CODES},
    "lemma_noise": {"T": T, "n": n},
    "random_largest": {"T": T, "n": n},
    "least_q": {"T": T, "n": n},
    "all_right": {"T": T, "q": Q_, "z": z},
    "most_active": {"T": T, "q": Q_},
    "levels": {"q": Q_, "z": z, "wrong": (0.1, [*NO_NUMBER, None, -1, 0.6])},
    "compounded": {"T": T, "q": Q_, "z": z, "layers": (3, "count")},
    "falsely_on": {"T": T, "n": n, "S": S, "z": z},
    "draw": {"T": T, "z": z, "samples": (5, "count"), "rng": RNG},
    "carry": {
        "codes": ([CODE], [None, "x", 3, [], CODE, [None], [CODE[0]], [2 * CODE]]),
        "x": (np.ones((2, 3)), [None, "x", 3, CODE, np.ones(3), np.ones((2, 3), complex)]),
    },
    "all_on": {
        **{"table": (table, BARE), "n": n},
        "on": (np.ones((2, 6), bool), [None, "x", 3, np.ones((2, 6)), np.ones(6, bool)]),
    },
}
CALLS |= {f"cost.{name}": (getattr(cost, name), each) for name, each in COST.items()}

ARGUMENTS = [(name, argument) for name, (_, given) in CALLS.items() for argument in given]


def refusal(name: str, argument: str, value: object) -> str | None:
    """What is wrong with how a bad value is refused, or None."""
    call, given = CALLS[name]
    try:
        found = call(**{k: v for k, (v, _) in given.items()} | {argument: value})
    except ValueError as error:
        told = str(error)
        if len(told) > LONGEST:
            return f"{len(told)} characters: {told[:80]}..."
        name = "table" if argument == "allocate" else argument  # whose mistakes it makes
        named = re.search(rf"(?<!\w)({argument}|{name})(?!\w)", told)
        allowed = re.search(r"must|allow|may|give|are \d|can place", told)
        return None if named and allowed else f"names or allows nothing: {told}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    return f"taken: {str(found)[:40]}"


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_what_an_argument_must_not_be_is_refused_by_its_name(
    name: str, argument: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is for users
    call, given = CALLS[name]
    call(**{k: v for k, (v, _) in given.items()})
    kind = given[argument][1]
    values = KINDS[kind] if isinstance(kind, str) else kind
    told = [(value, refusal(name, argument, value)) for value in values]
    assert not [(str(value)[:60], wrong) for value, wrong in told if wrong]
