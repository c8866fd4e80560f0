"""Settings and fixtures shared by all tests."""

import os
from collections.abc import Iterator

import matplotlib as mpl
import pytest
import torch
from browser import BOOK, CHROMIUM, launched, served
from hypothesis import settings
from playwright.sync_api import Browser

mpl.use("Agg")
torch.set_num_threads(1)
settings.register_profile("book", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("book")

# `make browser` sets this: what is missing is then an error, not a reason to skip.
missing = pytest.fail if os.environ.get("BROWSER") == "required" else pytest.skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, which reaches loopback only."""
    if CHROMIUM is None:
        missing("Chromium is not installed: apt-get install chromium")
    with launched() as found:
        yield found


@pytest.fixture(scope="session")
def book() -> Iterator[str]:
    """The address of the built book."""
    if not (BOOK / "index.html").exists():
        missing("the book is not built: make book")
    with served(BOOK) as address:
        yield address
