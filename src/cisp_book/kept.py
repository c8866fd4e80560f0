"""Tables that take long to make, kept for as long as the code behind them stands."""

import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TypeVar

import joblib
import pandas as pd
from tqdm import tqdm

from cisp.digest import digest

HERE = Path(__file__).parent
DATA = HERE / "data"
Found = TypeVar("Found")
asked = False  # for long tables too, by `make studies`


class StaleWarning(UserWarning):
    """A kept table is not of this code, or of other parameters."""


def kept(
    name: str, make: Callable[..., pd.DataFrame], *, long: str = "", **parameters: object
) -> pd.DataFrame:
    """make(**parameters), from data/name.csv if the same code and parameters stand behind it.

    Otherwise it is made anew; but a table that takes `long`, in words, only by `make studies`, and
    until then what is kept comes with a StaleWarning.
    """
    path = DATA / f"{name}.csv"
    code = code_of(make)
    key, was = f"# {code} {parameters}", ""
    if path.exists():
        was = path.read_text(encoding="utf-8").partition("\n")[0]
    if was != key and long and not asked:
        differs = "other code" if str(parameters) in was else f"other parameters than {parameters}"
        says = f"data/{name}.csv is of {differs}" if was else f"there is no data/{name}.csv"
        says += f": `make studies` makes it, in {long}"
        if not was:
            raise FileNotFoundError(says)
        warnings.warn(says, StaleWarning, stacklevel=3)
    elif was != key:
        with warnings.catch_warnings():
            warnings.simplefilter("error", StaleWarning)  # no new table from a stale one
            with nullcontext() if asked else redirect_stderr(StringIO()):  # no bars on a page
                text = make(**parameters).to_csv(index=False, float_format="%.6g")
        path.write_text(f"{key}\n{text}", encoding="utf-8")
    return pd.read_csv(path, comment="#")


def code_of(make: Callable[..., object]) -> str:
    """The digest of a function with all that it reaches in the package and in this one."""
    return digest(make, beside=[*HERE.glob("*.py"), *HERE.glob("studies/*.py")])


def finished() -> joblib.Memory:
    """Where a table that was interrupted finds its finished parts again."""
    return joblib.Memory(HERE / ".finished", verbose=0)


def in_parts(make: Callable[..., Found], cells: Iterable[tuple[object, ...]]) -> list[Found]:
    """make(*cell) of every cell, two at a time; those finished before are found again."""
    every, code = list(cells), code_of(make)
    jobs = (joblib.delayed(finished().cache(_part))(make, cell, code) for cell in every)
    found = joblib.Parallel(n_jobs=2, return_as="generator")(jobs)
    return list(tqdm(found, total=len(every)))


def _part(make: Callable[..., Found], cell: tuple[object, ...], code: str) -> Found:
    """One part. `code` tells results of different sources apart."""
    return make(*cell)
