"""Sweeps that more than one chapter reads, kept as tables for as long as their code stands."""

import ast
from collections.abc import Callable
from hashlib import sha256
from inspect import getsource, isfunction
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

import cisp

DATA = Path(__file__).parent / "data"
MEASURING = ("arguments", "allocation", "circuits", "network", "readout", "experiment")
PAIRS = {  # the post's 41 pairs: D, then T
    800: (200, 300),
    1000: (200, 300, 400, 500),
    1200: (200, 300, 400, 500, 600, 700),
    1400: (200, 400, 600, 800, 1000),
    1600: (300, 500, 700, 900, 1100, 1300),
    1800: (300, 500, 700, 900, 1100, 1300, 1500, 1700),
    2000: (200, 400, 600, 800, 1000, 1200, 1400, 1600, 1800, 2000),
}
PREDICTING = (
    "arguments",
    "allocation",
    "designs",
    "crowds",
    "density_evolution",
    "vector_evolution",
)
BOTH = tuple(dict.fromkeys(MEASURING + PREDICTING))
CAPACITIES = {
    "prime steps": cisp.prime_steps_capacity,
    "design": cisp.transversal_design_capacity,
}
ALLOCATIONS = {
    "prime steps": cisp.prime_steps,
    "design": cisp.transversal_design,
    "random": cisp.random_subsets,
}
CHOSEN = [  # fixed before any of them was simulated: T, D, S, z, allocation, gain, threshold
    (1000, 900, 3, 1, "prime steps", 2, 0.5),
    (1200, 1200, 3, 3, "prime steps", 2, 0.5),
    (500, 800, 4, 1, "prime steps", 2, 0.5),
    (1000, 1400, 4, 3, "prime steps", 2, 0.5),
    (400, 900, 5, 3, "prime steps", 2, 0.5),
    (900, 1400, 5, 1, "prime steps", 2, 0.5),
    (200, 700, 6, 2, "prime steps", 2, 0.5),
    (1000, 2600, 6, 3, "prime steps", 2, 0.5),
    (2200, 2800, 6, 1, "prime steps", 2, 0.5),
    (250, 1100, 6, 5, "prime steps", 2, 0.5),
    (900, 2200, 6, 5, "prime steps", 2, 0.5),
    (200, 900, 7, 1, "prime steps", 2, 0.5),
    (300, 1200, 7, 3, "prime steps", 2, 0.5),
    (160, 900, 8, 2, "prime steps", 2, 0.5),
    (400, 1500, 8, 2, "prime steps", 2, 0.5),
    (180, 1200, 10, 1, "prime steps", 2, 0.5),
    (600, 900, 4, 3, "design", 2, 0.5),
    (1200, 1400, 5, 2, "design", 2, 0.5),
    (500, 900, 6, 2, "design", 2, 0.5),
    (1200, 2000, 6, 1, "design", 2, 0.5),
    (1800, 2400, 6, 4, "design", 2, 0.5),
    (300, 1000, 8, 2, "design", 2, 0.5),
    (300, 900, 6, 2, "random", 2, 0.5),
    (500, 1000, 6, 1, "prime steps", 4, 0.6),
    (700, 1600, 6, 2, "prime steps", 10, 0.5),
    (1200, 2000, 6, 3, "prime steps", 2, 0.6),
    (800, 1500, 6, 2, "design", 4, 0.5),
]
LINES = [  # D, S, z, allocation, gain, threshold: where is the critical T?
    *[(D, 6, z, "prime steps", 2, 0.5) for D in (1000, 2000, 4000, 8000, 16000) for z in (1, 2, 4)],
    *[(D, S, 1, "design", 2, 0.5) for D in (1000, 2000, 4000, 8000) for S in (4, 6, 8)],
    *[(1000, S, 1, "prime steps", 2, 0.5) for S in (3, 4, 5)],
    *[(4000, 6, 2, "prime steps", gain, th) for gain, th in ((10, 0.5), (2, 0.6), (4, 0.6))],
]
RUNS = {"real": cisp.measure, "masked": cisp.measure_masked}
NAMES = [{k: f.__name__ for k, f in by.items()} for by in (RUNS, ALLOCATIONS, CAPACITIES)]

GRID = (PAIRS, NAMES)  # what `grid` relies on besides its parameters


def grid(run: str, *, seeds: int, samples: int, L: int) -> pd.DataFrame:
    """Mean and standard error over networks of every mse on the grid of figures 8 to 11."""
    cells = [
        {"T": T, "D": D, "S": 6, "z": z, "seed": seed}
        for seed in range(seeds)
        for D, Ts in PAIRS.items()
        for T in Ts
        for z in (1, 2, 3, 4)
    ]
    with joblib.parallel_config(n_jobs=2):
        found = cisp.sweep(cells, samples=samples, L=L, run=RUNS[run])
    by = found.groupby(["T", "D", "S", "z", "layer", "quantity", "circuits"], sort=False).mse
    return by.agg(["mean", "sem"]).set_axis(["mse", "mse_stderr"], axis=1).reset_index()


def predictions(*, L: int) -> pd.DataFrame:
    """What density evolution predicts on the grid of figures 8 to 11."""
    cells = [(T, D, z) for D, Ts in PAIRS.items() for T in Ts for z in (1, 2, 3, 4)]

    def one(T: int, D: int, z: int) -> pd.DataFrame:
        found = cisp.density_evolution(T=T, D=D, S=6, z=z, L=L).errors
        return found.assign(T=T, D=D)

    found = joblib.Parallel(n_jobs=2)(joblib.delayed(one)(*cell) for cell in tqdm(cells))
    return pd.concat(found)[["T", "D", "z", "layer", "quantity", "circuits", "mse"]]


def one_chosen(cell: int, seeds: int, samples: int, L: int) -> pd.DataFrame:
    """A chosen network, measured and predicted. The indicators alone where the step is another."""
    T, D, S, z, name, gain, threshold = CHOSEN[cell]
    post, n = (gain, threshold) == (2, 0.5), D // 4
    frames = []
    for seed in range(seeds):
        angles, dealing, inputs = np.random.default_rng([cell, seed]).spawn(3)
        circuits = (
            cisp.conditional_rotations(T=T, rng=angles)
            if post
            else cisp.step_indicators(T=T, gain=gain, threshold=threshold)
        )
        network = cisp.superpose(
            circuits,
            D=n * circuits.d,
            S=S,
            L=L,
            rng=dealing,
            allocate=ALLOCATIONS[name],
            max_overlap=S if name == "random" else 1,
        )
        frames.append(cisp.measure(network, z=z, samples=samples, rng=inputs).errors)
    keys = ["layer", "quantity", "circuits"]
    measured = pd.concat(frames).groupby(keys).mse.agg(["mean", "sem"]).reset_index()
    table = ALLOCATIONS[name](T=T, n=n, S=S)
    found = cisp.density_evolution(
        T=T, D=D, S=S, z=z, L=L, table=table, gain=gain, threshold=threshold
    )
    both = measured.merge(found.errors.drop(columns="z"), on=keys)
    both = both.rename(columns={"mse": "predicted", "mean": "mse", "sem": "mse_stderr"})
    return both.assign(cell=cell)


def chosen(*, seeds: int, samples: int, L: int) -> pd.DataFrame:
    """All chosen networks."""
    jobs = (joblib.delayed(one_chosen)(k, seeds, samples, L) for k in tqdm(range(len(CHOSEN))))
    return pd.concat(joblib.Parallel(n_jobs=2)(jobs))


def redundancy(*, T: int, D: int, L: int) -> pd.DataFrame:
    """What density evolution predicts of a design with S = 2 to 8, one and two active circuits."""

    def one(S: int, z: int) -> pd.DataFrame:
        table = cisp.transversal_design(T=T, n=D // 4, S=S)
        found = cisp.density_evolution(T=T, D=D, S=S, z=z, L=L, table=table).errors
        return found.assign(S=S)

    jobs = [joblib.delayed(one)(S, z) for S in range(2, 9) for z in (1, 2)]
    return pd.concat(joblib.Parallel(n_jobs=2)(jobs))


def critical_theory(
    D: int, S: int, z: int, name: str, gain: float, threshold: float, *, L: int, mse: float
) -> float:
    """The T at which density evolution puts the active indicators' error in layer L at mse."""
    n = D // 4

    def log_mse(T: float) -> float:
        table = ALLOCATIONS[name](T=round(T), n=n, S=S)
        found = cisp.density_evolution(
            T=round(T), D=D, S=S, z=z, L=L, table=table, gain=gain, threshold=threshold
        )
        return float(np.log(found.errors.mse.iloc[-3] / mse))

    def inside(T: float) -> float:
        return float(np.clip(T, n / S + z, CAPACITIES[name](n=n, S=S)))

    T = inside(360 * (n / 250) ** 1.6 / z**0.6)  # to begin with
    low = (T, log_mse(T))
    T = inside(T * np.exp(np.clip(-low[1] / 8, -0.5, 0.5)))
    for _ in range(8):
        high = (T, log_mse(T))
        if abs(high[1]) < 0.02 or high[0] == low[0]:
            break
        slope = max((high[1] - low[1]) / np.log(high[0] / low[0]), 3)
        T, low = inside(T * np.exp(np.clip(-high[1] / slope, -0.4, 0.4))), high
    return T


def critical_simulated(
    about: float,
    D: int,
    S: int,
    z: int,
    name: str,
    gain: float,
    threshold: float,
    *,
    L: int,
    mse: float,
    seeds: int,
    samples: int,
) -> tuple[float, float]:
    """The same T from On-indicators run alone, and its standard error (jackknife over networks)."""
    Ts, n = np.round(about * np.array([0.8, 0.9, 1, 1.1, 1.25])).astype(int), D // 4
    Ts = np.unique(Ts.clip(None, CAPACITIES[name](n=n, S=S)))
    errors = np.empty((seeds, len(Ts)))
    for seed in range(seeds):
        for k, T in enumerate(Ts):
            network = cisp.superpose(
                cisp.step_indicators(T=int(T), gain=gain, threshold=threshold),
                D=2 * n,
                S=S,
                L=L,
                rng=np.random.default_rng([seed, k]),
                allocate=ALLOCATIONS[name],
            )
            inputs = np.random.default_rng([seed, k, 1])
            found = cisp.measure(network, z=z, samples=samples, rng=inputs).errors
            last = (found.layer == L) & (found.circuits == "active")
            errors[seed, k] = found.mse[last].item()

    def crossing(kept: np.ndarray) -> float:
        above = np.log(kept.mean(0) / mse)
        fit = np.polynomial.Polynomial.fit(above, np.log(Ts / about), 2)
        return float(about * np.exp(fit(0)))

    left_out = [crossing(np.delete(errors, k, 0)) for k in range(seeds)]
    spread = (seeds - 1) * np.var(left_out)
    return crossing(errors), float(np.sqrt(spread))


def critical_T(*, L: int, mse: float, seeds: int, samples: int) -> pd.DataFrame:
    """Theory and simulation of the critical T on all lines."""

    def one(line: tuple[int, int, int, str, float, float]) -> tuple[float, ...]:
        T = critical_theory(*line, L=L, mse=mse)
        return T, *critical_simulated(T, *line, L=L, mse=mse, seeds=seeds, samples=samples)

    found = joblib.Parallel(n_jobs=2)(joblib.delayed(one)(line) for line in tqdm(LINES))
    columns = ["D", "S", "z", "allocation", "gain", "threshold"]
    return pd.DataFrame(LINES, columns=columns).join(
        pd.DataFrame(found, columns=["predicted", "T", "T_stderr"])
    )


def kept(
    name: str,
    make: Callable[..., pd.DataFrame] = grid,
    *,
    rooms: tuple[str, ...] | None = None,
    behind: tuple[object, ...] = (),
    **parameters: object,
) -> pd.DataFrame:
    """make(**parameters), from data/name.csv if that has the same code and parameters behind it."""
    path = DATA / f"{name}.csv"
    key = f"# {fingerprint(make, rooms, behind)} {parameters}"
    if not path.exists() or path.read_text().partition("\n")[0] != key:
        table = make(**parameters)
        path.write_text(key + "\n" + table.to_csv(index=False, float_format="%.6g"))
    return pd.read_csv(path, comment="#")


def fingerprint(
    make: Callable[..., object],
    rooms: tuple[str, ...] | None = None,
    behind: tuple[object, ...] = (),
) -> str:
    """A digest of the code behind a table: what it does, not how it is described.

    behind: functions and values, besides rooms of cisp, that `make` relies on.
    """
    texts = [(Path(cisp.__file__).parent / f"{room}.py").read_text() for room in rooms or MEASURING]
    texts += [getsource(x) if isfunction(x) else repr(x) for x in (make, *behind)]
    return sha256("".join(map(bare, texts)).encode()).hexdigest()[:16]


def bare(text: str) -> str:
    """The syntax tree of some code less its docstrings, annotations, array types and imports."""
    tree = ast.parse(text)

    def says_nothing(node: ast.stmt) -> bool:
        if isinstance(node, ast.Expr):
            return isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Assign):
            names = (x.id for x in ast.walk(node.value) if isinstance(x, ast.Name))
            return any(name in ("Float", "Int", "Num", "Complex") for name in names)
        return isinstance(node, ast.Import | ast.ImportFrom)

    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [child for child in body if not says_nothing(child)]
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                setattr(node, name, None)
    return repr(plain(tree))


def plain(node: object) -> object:
    """A syntax tree as tuples and lists, the same in every version of Python."""
    if isinstance(node, ast.AST):
        fields = [(k, plain(v)) for k, v in ast.iter_fields(node) if v is not None and v != []]
        return type(node).__name__, fields
    return [plain(child) for child in node] if isinstance(node, list) else node


def figures_8_to_11() -> pd.DataFrame:
    """The networks as they run: 41 (D, T) pairs, z = 1..4, five layers, 16 networks a cell."""
    return kept("figures_8_to_11", behind=GRID, run="real", seeds=16, samples=500, L=5)


def figures_8_to_11_masked() -> pd.DataFrame:
    """The same networks and inputs with every neuron off that belongs to no active circuit."""
    return kept("figures_8_to_11_masked", behind=GRID, run="masked", seeds=16, samples=500, L=5)


def first_layer() -> pd.DataFrame:
    """Layer 1 alone, four networks a cell with 20,000 inputs each: small standard errors."""
    return kept("first_layer", behind=GRID, run="real", seeds=4, samples=20_000, L=1)


def figures_8_to_11_predicted() -> pd.DataFrame:
    """Density evolution on the grid of figures 8 to 11."""
    return kept("predicted", predictions, rooms=PREDICTING, behind=(PAIRS,), L=5)


def chosen_networks() -> pd.DataFrame:
    """Networks chosen before they were simulated, measured and predicted."""
    behind = (one_chosen, CHOSEN, NAMES)
    return kept("chosen", chosen, rooms=BOTH, behind=behind, seeds=8, samples=500, L=4)


def redundancy_predicted() -> pd.DataFrame:
    """Density evolution of the designs of chapter 11."""
    return kept("redundancy", redundancy, rooms=PREDICTING, T=557, D=1000, L=5)


def critical_lines() -> pd.DataFrame:
    """The T at which active indicators of layer 5 err by 0.01, by theory and by simulation."""
    behind = (critical_theory, critical_simulated, LINES, NAMES)
    how = {"L": 5, "mse": 0.01, "seeds": 5, "samples": 500}
    return kept("critical", critical_T, rooms=BOTH, behind=behind, **how)


if __name__ == "__main__":
    for make in (
        first_layer,
        figures_8_to_11,
        figures_8_to_11_masked,
        figures_8_to_11_predicted,
        chosen_networks,
        redundancy_predicted,
        critical_lines,
    ):
        print(make.__name__, len(make()), "rows")
