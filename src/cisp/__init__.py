"""Circuits in superposition: networks that compute many small circuits at once."""

from importlib.metadata import version

from cisp import theory
from cisp.allocation import (
    check_table,
    load,
    mean_overlap,
    mean_squared_overlap,
    prime_steps,
    prime_steps_capacity,
    random_subsets,
    vectors,
)
from cisp.assumptions import check_assumptions
from cisp.budget import error_budget
from cisp.channels import Channels
from cisp.circuits import SmallCircuits
from cisp.construct import superpose, superpose_exact, superpose_extrinsic
from cisp.dense import run_dense
from cisp.designs import johnson_bound, transversal_design, transversal_design_capacity
from cisp.experiment import measure, measure_masked
from cisp.gates import gated, gated_modules, silenced
from cisp.joined import concatenate
from cisp.network import Network
from cisp.plans import plan
from cisp.readout import among_all, errors, estimates, is_active, mse_active, of_active
from cisp.rotations import (
    conditional_rotations,
    loaded_rotations,
    one_relu_rotations,
    step_indicators,
)
from cisp.sweeps import sweep
from cisp.tables import rows
from cisp.tally import Measurement
from cisp.testbed import Testbed, recovery, reference, references
from cisp.theory import DensityEvolution, density_evolution
from cisp.triangles import triangle_free, triangle_free_capacity
from cisp.wiring import Dealt, Extrinsic
from cisp.worst import WorstCase, worst_case

__all__ = [
    "Channels",
    "Dealt",
    "DensityEvolution",
    "Extrinsic",
    "Measurement",
    "Network",
    "SmallCircuits",
    "Testbed",
    "WorstCase",
    "among_all",
    "check_assumptions",
    "check_table",
    "concatenate",
    "conditional_rotations",
    "density_evolution",
    "error_budget",
    "errors",
    "estimates",
    "gated",
    "gated_modules",
    "is_active",
    "johnson_bound",
    "load",
    "loaded_rotations",
    "mean_overlap",
    "mean_squared_overlap",
    "measure",
    "measure_masked",
    "mse_active",
    "of_active",
    "one_relu_rotations",
    "plan",
    "prime_steps",
    "prime_steps_capacity",
    "random_subsets",
    "recovery",
    "reference",
    "references",
    "rows",
    "run_dense",
    "silenced",
    "step_indicators",
    "superpose",
    "superpose_exact",
    "superpose_extrinsic",
    "sweep",
    "theory",
    "transversal_design",
    "transversal_design_capacity",
    "triangle_free",
    "triangle_free_capacity",
    "vectors",
    "worst_case",
]

__version__ = version("cisp")
