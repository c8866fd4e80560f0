#!/usr/bin/env bash
# joblib 1.6.0: a cached function that is given a function of the script works in one process, and so
# does one that is not cached in two; cached and in two processes it raises PicklingError.
# The worker gets the function by value (cloudpickle), but to look up the result it hashes the
# arguments by pickling them by name, and its own __main__ has no such name.
# Seen: PicklingError "it's not found as __main__.make".
# Worth knowing for anything that takes callables and offers both `memory` and `n_jobs`: keep them out
# of the hash (`ignore=`) and hash what stands for them.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q joblib==1.6.0
cd "$here"
cat > script.py <<'P'
import sys
from pickle import PicklingError

import joblib


def make(k):
    return k


def use(make, k):
    return make(k)


if __name__ == "__main__":
    jobs = [(make, k) for k in range(3)]
    cached = joblib.Memory("memory", verbose=0).cache(use)
    for function, processes in ((use, 1), (use, 2), (cached, 1)):
        found = joblib.Parallel(processes)(joblib.delayed(function)(*job) for job in jobs)
        assert found == [0, 1, 2]
    jobs = [(make, k) for k in range(3, 6)]
    try:
        joblib.Parallel(2)(joblib.delayed(cached)(*job) for job in jobs)
    except PicklingError as error:
        assert "not found as __main__.make" in str(error), error
        print("still so:", error.args[0])
    else:
        sys.exit("changed: it works")
P
"$here/venv/bin/python" script.py
