"""Circuits in superposition: networks that compute many small circuits at once."""

from cisp import theory
from cisp.allocation import (
    check_table,
    load,
    mean_overlap,
    mean_squared_overlap,
    prime_steps,
    prime_steps_capacity,
    random_subsets,
)
from cisp.assumptions import check_assumptions
from cisp.budget import error_budget
from cisp.circuits import (
    SmallCircuits,
    conditional_rotations,
    loaded_rotations,
    one_relu_rotations,
    step_indicators,
)
from cisp.construct import superpose, superpose_extrinsic
from cisp.designs import johnson_bound, transversal_design, transversal_design_capacity
from cisp.experiment import measure, measure_masked
from cisp.network import Network
from cisp.readout import errors, estimates
from cisp.sweeps import sweep
from cisp.tally import Measurement
from cisp.theory import DensityEvolution, density_evolution
from cisp.wiring import Dealt, Extrinsic

__all__ = [
    "Dealt",
    "DensityEvolution",
    "Extrinsic",
    "Measurement",
    "Network",
    "SmallCircuits",
    "check_assumptions",
    "check_table",
    "conditional_rotations",
    "density_evolution",
    "error_budget",
    "errors",
    "estimates",
    "johnson_bound",
    "load",
    "loaded_rotations",
    "mean_overlap",
    "mean_squared_overlap",
    "measure",
    "measure_masked",
    "one_relu_rotations",
    "prime_steps",
    "prime_steps_capacity",
    "random_subsets",
    "step_indicators",
    "superpose",
    "superpose_extrinsic",
    "sweep",
    "theory",
    "transversal_design",
    "transversal_design_capacity",
]
