#!/usr/bin/env bash
# nnsight 0.8.1 and captum 0.9.0 on a network of this package: both see every A^l, nnsight patches
# one, captum attributes a read-out to the neurons of a layer. A temporary environment, outside CI.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"${PYTHON:-python3}" -m venv "$here/venv"
mkdir "$here/package"  # a build would leave its folder behind
cp -r "$root"/{src,pyproject.toml,README.md,LICENSE} "$here/package"
"$here/venv/bin/pip" install -q --disable-pip-version-check -c "$root/constraints.txt" \
  "$here/package" nnsight==0.8.1 captum==0.9.0
cat > "$here/peers.py" <<'P'  # nnsight reads the source of its caller: a file, not stdin
from importlib.metadata import version

import captum.attr
import nnsight
import torch

import cisp

torch.set_default_dtype(torch.float64)
print(*(f"{name} {version(name)}" for name in ("torch", "nnsight", "captum")))
network = cisp.superpose(cisp.conditional_rotations(T=40, rng=0), D=160, S=4, L=3)
active, a0 = network.sample(batch=5, z=2)
A0 = network.embed(a0, active)
with torch.no_grad():
    A = network(A0)

model = nnsight.NNsight(network)
with model.trace(A0), torch.no_grad():
    seen = nnsight.save([layer.output.save() for layer in model.layers])
assert all(torch.equal(one, A[k]) for k, one in enumerate(seen, 1)), "nnsight sees other activations"
print("nnsight sees A^1..A^3: equal")

with model.trace(A0), torch.no_grad():
    model.layers[1].output = 0 * model.layers[1].output
    patched = model.output.save()
with torch.no_grad():
    expected = network(A0, patch={2: lambda A: 0 * A})
assert torch.equal(patched, expected) and not torch.equal(patched, A), "nnsight's patch is not ours"
print("nnsight sets A^2 to 0: equal to patch={2: ...}")


def read(A0: torch.Tensor, circuits: torch.Tensor) -> torch.Tensor:
    """The first neuron of one circuit of each input, as the last layer's read-out gives it."""
    return network.readout(network(A0), 3)[torch.arange(len(circuits)), circuits, 0]


for k, layer in enumerate(network.layers, 1):
    found = captum.attr.LayerActivation(read, layer).attribute(A0, additional_forward_args=active[:, 0])
    assert torch.equal(found, A[k]), f"captum sees another A^{k}"
print("captum's LayerActivation sees A^1..A^3: equal")

conductance = captum.attr.LayerConductance(read, network.layers[1])
parts, delta = conductance.attribute(
    A0, baselines=0 * A0, n_steps=400, additional_forward_args=active[:, 0],
    return_convergence_delta=True,
)
own = network.tables[1, active[:, 0]]
top = parts.detach().flatten(1).argmax(1) % network.n
print("captum's LayerConductance of A^2:", tuple(parts.shape), f"adds up to {float(delta.abs().max()):.2g};",
      f"largest on a position of the circuit in {int((own == top[:, None]).any(1).sum())} of 5 inputs")
# a sum over 400 steps of a function with kinks: an error of a few steps
assert float(delta.abs().max()) < 0.05, "conductances do not add up to the read-out"
P
cd "$here"
"$here/venv/bin/python" peers.py
