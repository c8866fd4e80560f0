#!/usr/bin/env bash
# joblib 1.6.0 with dask 2026.8.0: under `parallel_config(backend="dask")` a cluster of one worker with
# one thread is not used. The calls run in the calling process, without a word, as joblib takes one
# job at a time for none to share out. With two workers they run on the cluster.
# Seen: the process of each call is the caller's own with 1 worker, never with 2.
# Worth knowing where the worker is another machine, with the memory or the accelerator that is
# needed, and in tests on a small cluster, which then test nothing of it.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q joblib==1.6.0 dask==2026.8.0 distributed==2026.8.0
cd "$here"
cat > script.py <<'P'
import os
import sys

import joblib
from distributed import Client, LocalCluster


def where(_):
    return os.getpid()


if __name__ == "__main__":
    here = {}
    for workers in (1, 2):
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=50,
            ) as cluster,
            Client(cluster),
            joblib.parallel_config(backend="dask"),
        ):
            found = joblib.Parallel()(joblib.delayed(where)(k) for k in range(4))
            here[workers] = os.getpid() in found
    assert not here[2], "two workers are not used either"
    if not here[1]:
        sys.exit("changed: one worker is used")
    print("still so: with one worker all calls ran here, with two none")
P
"$here/venv/bin/python" script.py
