"""Ordinary passes by whichever commit's cisp is found first: ms an input, for each line that comes.

python benchmarks/ordinary.py FILE z INPUTS    of a saved network, on one thread
"""

import sys
from time import process_time

import torch

import cisp

torch.set_num_threads(1)
network = cisp.Network.load(sys.argv[1])
z, inputs = map(int, sys.argv[2:])
for _ in sys.stdin:
    start = process_time()
    cisp.measure(network, z=z, samples=inputs, progress=False)
    print((process_time() - start) / inputs * 1e3, flush=True)
