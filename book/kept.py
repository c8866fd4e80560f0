"""Tables that take long to make, kept for as long as the code behind them stands."""

from collections.abc import Callable
from pathlib import Path

import joblib
import pandas as pd

from cisp.digest import digest

DATA = Path(__file__).parent / "data"
STUDIES = Path(__file__).parent / "studies"


def kept(name: str, make: Callable[..., pd.DataFrame], **parameters: object) -> pd.DataFrame:
    """make(**parameters), from data/name.csv if the same code and parameters stand behind it."""
    path = DATA / f"{name}.csv"
    key = f"# {digest(make, beside=STUDIES.glob('*.py'))} {parameters}"
    if not path.exists() or path.read_text(encoding="utf-8").partition("\n")[0] != key:
        text = make(**parameters).to_csv(index=False, float_format="%.6g")
        path.write_text(f"{key}\n{text}", encoding="utf-8")
    return pd.read_csv(path, comment="#")


def finished() -> joblib.Memory:
    """Where a table that was interrupted finds its finished parts again."""
    return joblib.Memory(Path(__file__).parent / ".finished", verbose=0)
