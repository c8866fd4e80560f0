"""Make every kept table again whose code has changed: `python -m studies`, in book/."""

from studies.ablation import ablations
from studies.apart import apart_latents, apart_settings
from studies.chosen import chosen_networks
from studies.critical import critical_lines
from studies.exact import exact_beyond, exact_noise, exact_pairs
from studies.exact_edges import exact_least_M, exact_switching
from studies.exact_tables import exact_denser
from studies.frontier import frontier
from studies.grid import (
    figures_8_to_11,
    figures_8_to_11_masked,
    figures_8_to_11_predicted,
    first_layer,
)
from studies.in_pieces import apart_pieces
from studies.known import apart_known
from studies.redundancy import redundancy_predicted
from studies.rewritten import apart_rewritten
from studies.two_truths import apart_truths

ALL = (
    first_layer,
    figures_8_to_11,
    figures_8_to_11_masked,
    figures_8_to_11_predicted,
    chosen_networks,
    redundancy_predicted,
    critical_lines,
    ablations,
    frontier,
    exact_pairs,
    exact_noise,
    exact_beyond,
    exact_denser,
    exact_least_M,
    exact_switching,
    apart_settings,
    apart_latents,
    apart_rewritten,
    apart_pieces,
    apart_truths,
    apart_known,
)

if __name__ == "__main__":
    for table in ALL:
        print(table.__name__, len(table()), "rows", flush=True)
