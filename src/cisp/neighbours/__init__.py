"""The neighbours: four systems that ask the same question, each a small module of its own."""

from cisp.neighbours import cost as cost
from cisp.neighbours import pairs as pairs
from cisp.neighbours import perturb as perturb
from cisp.neighbours import sorting as sorting
from cisp.neighbours import symmetry as symmetry
