"""What the notebooks among the tests leave uncompared: pictures, of which none is stored."""

import pytest


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Add SVG to the kinds of output that nbval passes over, PNG among them."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("image/svg+xml",)
