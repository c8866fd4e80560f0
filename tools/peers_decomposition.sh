#!/usr/bin/env bash
# Stochastic parameter decomposition (github.com/goodfire-ai/spd, its last torch state) on an exported
# bed: its component model takes the plain layers as they are, and the true rank-one pieces. Outside
# CI. The peer asks for Python 3.13, whose torch brings gigabytes of CUDA; it runs on 3.11 with three
# generic signatures rewritten and wandb's workspaces left out. SPD: where to clone it from.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
PYTHONPATH="$root/src" "$root/.venv/bin/python" -m cisp.testbed export rotations-100 "$here/bed"
git clone -q "${SPD:-https://github.com/goodfire-ai/spd}" "$here/spd"
git -C "$here/spd" checkout -q 3f0bb61ebb56c493f8de5c21618d866bbed60298
"${PYTHON:-python3.11}" -m venv "$here/venv"
"$here/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.1 \
  transformers==4.57.3 pydantic==2.11.10 wandb==0.23.1 einops==0.8.1 jaxtyping==0.3.4 fire==0.7.1 \
  python-dotenv==1.2.1 safetensors==0.7.0
sed -i 's/^class RunInfo\[T\]:/class RunInfo(Generic[T]):/; 1i from typing import Generic, TypeVar\nT = TypeVar("T")' "$here/spd/spd/interfaces.py"
sed -i 's/def replace_pydantic_model\[BaseModelType: BaseModel\]/def replace_pydantic_model/; s/BaseModelType/BaseModel/g; s/def runtime_cast\[T\](type_: type\[T\], obj: Any) -> T:/def runtime_cast(type_, obj):/' "$here/spd/spd/utils/general_utils.py"
sed -i 's/def try_wandb\[\*\*P, T\].*/def try_wandb(wandb_fn, *args, **kwargs):/' "$here/spd/spd/utils/wandb_utils.py"
mkdir -p "$here/stubs/wandb_workspaces/reports"
for name in "" /reports /reports/v2 /workspaces; do
  mkdir -p "$here/stubs/wandb_workspaces$name"; touch "$here/stubs/wandb_workspaces$name/__init__.py"
done
echo 'import typing, typing_extensions; typing.override = typing_extensions.override' > "$here/stubs/sitecustomize.py"
cat > "$here/peer.py" <<'P'
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from spd.models.component_model import ComponentModel
from spd.models.components import make_mask_infos
from spd.utils.module_utils import ModulePathInfo

bed = Path(sys.argv[1])
config = json.loads((bed / "config.json").read_text("utf-8"))
D, L, T = (config[k] for k in "DLT")
model = nn.Sequential(*(m for _ in range(L) for m in (nn.Linear(D, D), nn.ReLU())))
model.load_state_dict(load_file(bed / "model.safetensors"))
model.requires_grad_(False)
sample, truth = load_file(bed / "sample.safetensors"), np.load(bed / "truth.npz")

W, U, V, whose = model[2].weight.double(), [], [], []
for t in range(T):  # the rank-one pieces of each circuit's own part, then of what all share
    u, s, v = np.linalg.svd(truth["own_2"][t].astype(float))
    for k in np.flatnonzero(s > 1e-5 * s[0]):
        U.append(torch.zeros(D).double()), V.append(torch.zeros(D).double()), whose.append(t)
        U[-1][truth["rows_2"][t]] = torch.from_numpy(u[:, k] * s[k])
        V[-1][truth["columns_2"][t]] = torch.from_numpy(v[k])
u, s, v = torch.linalg.svd(W - torch.stack(U).T @ torch.stack(V))
shared = int((s > 1e-5 * s[0]).sum())
U, V = torch.cat([torch.stack(U), (u[:, :shared] * s[:shared]).T]), torch.cat([torch.stack(V), v[:shared]])
whose = torch.tensor(whose + [-1] * shared)
print(f"{D} neurons, {T} circuits: {len(whose) - shared} pieces of their own, {shared} shared")

peer = ComponentModel(
    target_model=model,
    module_path_info=[ModulePathInfo(module_path="2", C=len(whose))],
    ci_fn_type="mlp",
    ci_fn_hidden_dims=[16],
    sigmoid_type="leaky_hard",
    pretrained_model_output_attr=None,
)
with torch.no_grad():
    peer.components["2"].V.copy_(V.T), peer.components["2"].U.copy_(U)
    A0, plain = sample["activations"][0], sample["activations"][-1]
    assert torch.allclose(peer(A0), plain, atol=1e-4), "the peer's target is another function"
    active = sample["active"]
    own = (whose.view(1, -1, 1) == active.unsqueeze(1)).any(2) | (whose == -1)
    masks = {"all pieces": torch.ones_like(own), "shared and of active circuits": own}
    masks["shared alone"] = (whose == -1).expand_as(own)
    for name, mask in masks.items():
        found = peer(A0, mask_infos=make_mask_infos({"2": mask.float()}))
        off = float((found - plain).square().sum() / plain.square().sum())
        print(f"{name}: {float(mask.float().sum(1).mean()):.0f} pieces, {off:.1e} of the output lost")
        assert (off < 1e-6) == (name == "all pieces"), (name, off)
P
PYTHONPATH="$here/spd:$here/stubs" "$here/venv/bin/python" "$here/peer.py" "$here/bed"
