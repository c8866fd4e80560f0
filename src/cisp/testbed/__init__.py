"""A test bed with known truth for methods that take networks apart."""

from cisp.testbed.activity import bernoulli, zipf
from cisp.testbed.bed import Batch, Testbed
from cisp.testbed.export import export
from cisp.testbed.frozen import reference, references
from cisp.testbed.recovery import recovery
from cisp.testbed.truth import Components

__all__ = [
    "Batch",
    "Components",
    "Testbed",
    "bernoulli",
    "export",
    "recovery",
    "reference",
    "references",
    "zipf",
]
