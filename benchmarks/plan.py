"""`cisp.plan` held against measurement: 20 cases that are not rotations, written down before.

Minutes on one core. Predicted and measured mean squared error of the last read-out in the last
layer, over three networks each; a hit is within 20 %.

Run twice. At first 18 of 19 hit and one was refused; the miss was the third case, foretold 23 % too
large, where what leaks makes much of the error. Tried on other circuits, leaks then came from
exactly as many circuits as a position has, in place of a Poisson number: 19 of 19, one refused.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

from statistics import mean, stdev

import pandas as pd
from plan_cases import CASES, Case

import cisp

NETWORKS, SAMPLES, WITHIN = 3, 6000, 0.2


def foretold(case: Case, circuits: cisp.SmallCircuits) -> tuple[float, str]:
    """The error that the plan gives, and its note."""
    name = case.embedding if case.embedding == "superpose" else "superpose_extrinsic"
    plan = cisp.plan(circuits, D=case.D, z=case.z, S=[case.S])
    row = plan[(plan.embedding == name) & (plan.allocation == case.allocation)].iloc[0]
    return float(row.mse), str(row.note)


def measured(case: Case, circuits: cisp.SmallCircuits, seed: int) -> float:
    """The same error of one network."""
    options = {"D": case.D, "S": case.S, "allocate": getattr(cisp, case.allocation), "rng": seed}
    if case.embedding == "superpose":
        network = cisp.superpose(circuits, **options)
    else:
        network = cisp.superpose_extrinsic(circuits, **options, silence="auto")
    errors = cisp.measure(network, z=case.z, samples=SAMPLES, rng=seed, progress=False).errors
    errors = errors[(errors.layer == circuits.L) & (errors.circuits == "active")]
    return float(errors[errors.quantity == [*circuits.readouts][-1]].mse.iloc[0])


def row(case: Case) -> dict[str, object]:
    """One case, foretold and measured."""
    circuits = case.make(**case.given)
    told, note = foretold(case, circuits)
    found = [measured(case, circuits, seed) for seed in range(NETWORKS)]
    ratio = told / mean(found)
    verdict = "refused" if told != told else "hit" if abs(ratio - 1) <= WITHIN else "MISS"
    return {
        "circuits": case.make.__name__,
        "T": circuits.T,
        "d": circuits.d,
        "L": circuits.L,
        "D": case.D,
        "S": case.S,
        "z": case.z,
        "embedding": case.embedding,
        "allocation": case.allocation,
        "foretold": told,
        "measured": mean(found),
        "spread": stdev(found),
        "ratio": ratio,
        "verdict": verdict,
        "note": note,
    }


def main() -> None:
    """Print the table and what it comes to."""
    rows = []
    for case in CASES:
        rows.append(row(case))
        told = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in rows[-1].items()}
        print(*(f"{v}" for v in told.values()), flush=True)
    table = pd.DataFrame(rows)
    print(table.drop(columns="note").to_string(float_format="{:.4g}".format))
    print(table.verdict.value_counts().to_string())


if __name__ == "__main__":
    main()
