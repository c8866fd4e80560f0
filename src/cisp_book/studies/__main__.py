"""Make kept tables anew whose code has changed; with --long (`make studies`) the long ones too."""

import sys
from time import time

from cisp_book import kept
from cisp_book.studies.ablation import ablations
from cisp_book.studies.apart import apart_latents, apart_settings
from cisp_book.studies.chosen import chosen_networks
from cisp_book.studies.critical import critical_lines, critical_predicted
from cisp_book.studies.exact import exact_beyond, exact_noise, exact_pairs
from cisp_book.studies.exact_edges import exact_least_M, exact_switching
from cisp_book.studies.exact_tables import exact_denser
from cisp_book.studies.exponent import exponent, exponent_predicted
from cisp_book.studies.frontier import frontier
from cisp_book.studies.frontier_at_scale import frontier_at_scale
from cisp_book.studies.grid import (
    figures_8_to_11,
    figures_8_to_11_masked,
    figures_8_to_11_predicted,
    first_layer,
)
from cisp_book.studies.held_out import held_out, held_out_tails
from cisp_book.studies.in_pieces import apart_pieces
from cisp_book.studies.known import apart_known
from cisp_book.studies.learned import learned
from cisp_book.studies.pairs_trained import pairs_drawn, pairs_trained
from cisp_book.studies.perturbed import perturbed_moved, perturbed_walked
from cisp_book.studies.redundancy import redundancy_predicted
from cisp_book.studies.rewritten import apart_rewritten
from cisp_book.studies.sorting import sorting_heads, sorting_narrow, sorting_noised, sorting_watched
from cisp_book.studies.store import (
    store_basics,
    store_hexagons,
    store_pentagons,
    store_perturbed,
    store_phases,
    store_uniform,
)
from cisp_book.studies.store_absolute import absolute_large, absolute_motifs, absolute_small
from cisp_book.studies.stored import stored_widths
from cisp_book.studies.two_truths import apart_truths
from cisp_book.studies.worst_directions import worst_directions

ALL = (
    first_layer,
    figures_8_to_11,
    figures_8_to_11_masked,
    figures_8_to_11_predicted,
    chosen_networks,
    redundancy_predicted,
    critical_lines,
    critical_predicted,
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
    learned,
    stored_widths,
    pairs_drawn,
    pairs_trained,
    perturbed_moved,
    perturbed_walked,
    sorting_watched,
    sorting_heads,
    sorting_noised,
    sorting_narrow,
    store_pentagons,
    store_hexagons,
    store_perturbed,
    store_phases,
    store_basics,
    store_uniform,
    absolute_small,
    absolute_motifs,
    absolute_large,
    exponent,
    exponent_predicted,
    frontier_at_scale,
    worst_directions,
    held_out,
    held_out_tails,
)


def texts() -> dict[str, tuple[str, str]]:
    """Of each table as kept, the key and the numbers."""
    files = [(path.name, path.read_text(encoding="utf-8")) for path in kept.DATA.glob("*.csv")]
    return {name: (text.partition("\n")[0], text.partition("\n")[2]) for name, text in files}


if __name__ == "__main__":
    kept.asked = "--long" in sys.argv[1:]
    for number, table in enumerate(ALL, 1):
        print(f"{number}/{len(ALL)} {table.__name__}", flush=True)
        before, start = texts(), time()
        table()
        for name, (key, numbers) in texts().items():
            if (key, numbers) != before.get(name):
                same = name in before and before[name][1] == numbers
                says = "the same numbers" if same else "other numbers, see git diff"
                print(f"    data/{name} made in {time() - start:.0f} s: {says}", flush=True)
