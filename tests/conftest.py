"""Settings shared by all tests."""

import matplotlib as mpl
import torch
from hypothesis import settings

mpl.use("Agg")
torch.set_num_threads(1)
settings.register_profile("book", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("book")
