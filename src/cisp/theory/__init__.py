"""What is predicted, in three parts that know no network and no measurement.

`post`: one function for each equation of the post that predicts. `derived` and `critical`: this
book's own. `evolution`: the law of the On-indicators, layer by layer, and what it makes of the
vectors.
"""

from cisp.theory.critical import derived_critical_exponent
from cisp.theory.derived import (
    derived_embedding_mean,
    derived_exact_probability,
    derived_extrinsic_active,
    derived_first_layer,
    derived_noise_return,
    derived_noise_variance,
    derived_others_w_mean,
    derived_outliers,
    derived_rotation_active,
    derived_self_adjacent,
)
from cisp.theory.evolution import DensityEvolution, Ingredients, density_evolution, evolve
from cisp.theory.post import (
    mean_squared_overlap,
    mse_active,
    mse_inactive,
    mse_inactive_leading,
    mse_indicator_active,
    mse_indicator_inactive,
    mse_others,
    mse_others_delta_w,
    mse_others_w_mean,
    mse_rotation_active,
    mse_rotation_inactive,
    mse_self,
    mse_self_of_layers,
)

__all__ = [  # noqa: RUF022  # by part
    # post
    "mean_squared_overlap",
    "mse_inactive_leading",
    "mse_inactive",
    "mse_self_of_layers",
    "mse_self",
    "mse_others_delta_w",
    "mse_others_w_mean",
    "mse_others",
    "mse_active",
    "mse_indicator_active",
    "mse_indicator_inactive",
    "mse_rotation_active",
    "mse_rotation_inactive",
    # derived
    "derived_first_layer",
    "derived_others_w_mean",
    "derived_self_adjacent",
    "derived_rotation_active",
    "derived_noise_variance",
    "derived_noise_return",
    "derived_critical_exponent",
    "derived_embedding_mean",
    "derived_outliers",
    "derived_extrinsic_active",
    "derived_exact_probability",
    # evolution
    "DensityEvolution",
    "Ingredients",
    "density_evolution",
    "evolve",
]
