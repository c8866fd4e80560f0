#!/usr/bin/env bash
# devinterp 2.0.1: `llc(..., num_burnin_steps=)` runs the burn-in and then averages over it. The
# docstring of compute_llc says "every step (including burn-in)"; that of the argument, "SGLD burn-in
# steps before drawing". At a regular minimum of ten weights the coefficient is 10/2 = 5. A chain
# starts at the minimum and needs 100 steps to forget it; with 300 steps of burn-in and 100 draws the
# draws alone give 5, llc_mean a quarter less.
# Seen: llc_mean 3.7, after the burn-in 4.8.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"${PYTHON:-python3.11}" -m venv "$here/venv"
"$here/venv/bin/pip" install -q --disable-pip-version-check devinterp==2.0.1 torch==2.13.0
cd "$here"
cat > burn.py <<'P'
import sys
import warnings

import torch
from datasets import Dataset
from devinterp.slt.llc import llc

warnings.simplefilter("ignore")
BURN, DRAWS = 300, 100


class Weights(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(10))


def half_square(model, ids):
    return (model.w.square().sum() / 2).expand(len(ids), 1)


data = Dataset.from_dict({"input_ids": [[0, 0]] * 64}).with_format("torch")
found = llc(
    Weights(), data, {}, loss_fn=half_square, lr=1e-4, n_beta=100.0, num_chains=24,
    num_burnin_steps=BURN, num_draws=DRAWS, batch_size=1, num_init_loss_batches=1, device="cpu",
)
after = 100 * (found.loss_trace.values[:, BURN:].mean() - float(found.init_loss))
told = float(found.llc_mean)
assert abs(after - 5) < 0.6, f"the draws alone are off: {after}"
if told > 0.9 * after:
    sys.exit("changed: the burn-in is left out")
print(f"still so: llc_mean {told:.1f}, after the burn-in {after:.1f}, true 5")
P
TQDM_DISABLE=1 OMP_NUM_THREADS=1 "$here/venv/bin/python" burn.py
