"""How many circuits the exact embedding holds, and how often it is exact on denser tables."""

from collections.abc import Iterator

import joblib
import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from tqdm import tqdm

import cisp
from cisp import theory
from cisp.allocation import Table
from cisp_book.kept import kept
from cisp_book.studies.exact import BATCH, CORRECT, distances, turning, with_plan

Q, SLOPES = 55, (3, 5, 8, 11, 16, 22)


def table_of_slopes(slopes: Int[np.ndarray, " s"], *, q: int, S: int) -> Int[np.ndarray, "T S"]:
    """Circuit (k, r) at r + k x mod q of group x, as in `triangle_free`, for any slopes k."""
    k, r = np.divmod(np.arange(q * len(slopes)), q)
    x = np.arange(S)
    return x * q + (r[:, None] + slopes[k][:, None] * x) % q


def tables_of(kind: str, s: int, *, q: int, S: int, draws: int) -> Iterator[Int[np.ndarray, "T S"]]:
    """Tables of q s circuits: random slopes, or slopes 0..s-1 as a transversal design, or none."""
    if kind == "random":
        for seed in range(draws):
            slopes = np.random.default_rng([s, S, seed]).choice(q, s, replace=False)
            yield table_of_slopes(slopes, q=q, S=S)
    elif kind == "design":
        yield cisp.transversal_design(T=q * s, n=q * S, S=S)
    elif q * s <= cisp.triangle_free_capacity(n=q * S, S=S):
        yield cisp.triangle_free(T=q * s, n=q * S, S=S)


def shares_right(table: Table, z: int, *, L: int, sets: int) -> tuple[float, float]:
    """Shares of random sets of z with every place right that one circuit has, and every reading."""
    network, _ = with_plan(turning(len(table), L), z, table)
    active, a0 = network.sample(batch=sets, z=z, rng=3)
    places = network.tables[0][active]  # sets z S
    here = torch.nn.functional.one_hot(places, network.n).sum((1, 2)) == 1
    alone = here.unsqueeze(1).expand(-1, z, -1).gather(2, places)
    kept_right, read_right = [], []
    for some in (slice(start, start + BATCH) for start in range(0, sets, BATCH)):
        A = network(network.embed(a0[some], active[some]))[-1]
        a = network.circuits.run(a0[some], active[some])[-1]
        read_right.append(distances(network, A, a, active[some], network.L).amax(1) < CORRECT)
        inputs = torch.arange(len(A)).view(-1, 1, 1)
        state = A.transpose(1, 2)[inputs, places[some]] - a.unsqueeze(2)  # some z S d
        vector = network.circuits.quantities(state)["rotation"].norm(dim=-1)
        kept_right.append(((vector < CORRECT) | ~alone[some]).all(2).all(1))
    shares = [float(torch.cat(found).double().mean()) for found in (kept_right, read_right)]
    return shares[0], shares[1]


def denser_row(kind: str, s: int, z: int, *, L: int, draws: int, sets: int) -> dict[str, object]:
    """How often a random set is exact on tables of q s circuits."""
    tables = list(tables_of(kind, s, q=Q, S=z + 1, draws=draws))
    found = [shares_right(table, z, L=L, sets=sets // len(tables)) for table in tables]
    places, readings = np.mean(found, 0) if found else (np.nan, np.nan)
    head = {"z": z, "q": Q, "slopes": s, "T": Q * s, "table": kind, "tables": len(tables)}
    return {**head, "sets": sets, "places": places, "readings": readings}


def all_denser(*, L: int, draws: int, sets: int) -> pd.DataFrame:
    """All tables, for two and three active circuits."""
    kinds = ("random", "design", "triangle free")
    jobs = [(kind, s, z) for z in (2, 3) for kind in kinds for s in SLOPES]
    one = joblib.delayed(denser_row)
    runs = joblib.Parallel(n_jobs=2)(one(*job, L=L, draws=draws, sets=sets) for job in tqdm(jobs))
    return pd.DataFrame(runs).dropna(subset="places")


def exact_denser() -> pd.DataFrame:
    """How often a random set is exact on tables with triangles, beside the law for random ones."""
    table = kept("exact_denser", all_denser, L=6, draws=8, sets=800)
    law = [theory.derived_exact_probability(T=r.T, q=r.q, z=r.z) for r in table.itertuples()]
    return table.assign(law=law)


def capacities(widths: tuple[int, ...]) -> pd.DataFrame:
    """The most rotations that each embedding places in a width, and for how many active circuits.

    bound: as many as have no more weights in a layer than the network has, D^2/d^2.
    """
    d, rows = 4, list[tuple[int, str, object, int]]()
    for D in widths:
        rows += [(D, "side by side", "any", D // d)]
        for z in (2, 3, 4):
            n = D // width_each(z)
            rows += [(D, "exact", z, cisp.triangle_free_capacity(n=n, S=z + 1))]
        rows += [(D, "extrinsic", 1, cisp.transversal_design_capacity(n=D // d, S=6))]
        rows += [(D, "ping-pong", 1, (D // (d + 2)) ** 2), (D, "bound", "any", (D // d) ** 2)]
    return pd.DataFrame(rows, columns=["D", "embedding", "z", "T"])


def width_each(z: int, m: int = 2) -> int:
    """The neurons of a position that is exact for z circuits of m neurons beside the indicator.

    For z = 2 a count and two channels; for other z a count, and z channels with a flag each.
    """
    return 1 + 2 * m if z == 2 else 1 + z * (1 + m)
