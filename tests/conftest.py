"""Settings and fixtures shared by all tests.

A test of the package runs with the package and pytest alone; what only other tests need is imported
where they need it.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import matplotlib as mpl
import pytest
import torch
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from playwright.sync_api import Browser

mpl.use("Agg")
torch.set_num_threads(1)
with suppress(ImportError):
    import beartype  # noqa: F401  # the hook imports it only once it is too late

    install_import_hook("cisp", "beartype.beartype")
with suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("book", deadline=None, derandomize=True, max_examples=60)
    settings.load_profile("book")

# `make browser` sets this: what is missing is then an error, not a reason to skip.
missing = pytest.fail if os.environ.get("BROWSER") == "required" else pytest.skip

# The options in pyproject.toml that plugins bring.
OF_PLUGINS = {
    "--nbval": "store_true",
    "--nbval-current-env": "store_true",
    "--nbval-cell-timeout": "store",
    "--dist": "store",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the options of plugins that are not installed, and do nothing with them."""
    for option, action in OF_PLUGINS.items():
        with suppress(ValueError):  # the plugin is there
            parser.addoption(option, action=action)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Chromium, which reaches loopback only."""
    from browser import CHROMIUM, launched

    if CHROMIUM is None:
        missing("Chromium is not installed: apt-get install chromium")
    with launched() as found:
        yield found


@pytest.fixture(scope="session")
def book() -> Iterator[str]:
    """The address of the built book."""
    from browser import BOOK, served

    if not (BOOK / "index.html").exists():
        missing("the book is not built: make book")
    with served(BOOK) as address:
        yield address
