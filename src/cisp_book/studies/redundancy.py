"""How the errors of a design depend on S, predicted."""

import joblib
import pandas as pd

import cisp
from cisp_book.kept import kept


def redundancy(*, T: int, D: int, L: int) -> pd.DataFrame:
    """What density evolution predicts of a design with S = 2 to 8, one and two active circuits."""

    def one(S: int, z: int) -> pd.DataFrame:
        table = cisp.transversal_design(T=T, n=D // 4, S=S)
        found = cisp.density_evolution(T=T, D=D, S=S, z=z, L=L, table=table).errors
        return found.assign(S=S)

    jobs = [joblib.delayed(one)(S, z) for S in range(2, 9) for z in (1, 2)]
    return pd.concat(joblib.Parallel(n_jobs=2)(jobs))


def redundancy_predicted() -> pd.DataFrame:
    """Density evolution of the designs of chapter 13."""
    return kept("redundancy", redundancy, T=557, D=1000, L=5)
