#!/usr/bin/env bash
# rbloom 1.5.4: a Bloom filter that was asked for 1 % of false positives has 46 % if what it holds
# are multiples of 2^36, 50,000 even ones, and odd ones are looked up. Python's hashes of these
# integers all differ (the README warns of collisions of hashes). The filter takes its positions
# from a linear congruential generator that starts at the hash, and what starts in regular steps
# goes on in regular steps. abloom 1.1.0 keeps its 1 % on the same integers.
# Seen: 0.459 for multiples of 2^36, 0.007 for the integers themselves; 0.01 with a hash function.
# Worth knowing for keys that are built by shifts: give it a hash function, as its README shows.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q rbloom==1.5.4 abloom==1.1.0
cd "$here"
"$here/venv/bin/python" - <<'P'
import sys
from hashlib import sha256

from abloom import BloomFilter
from rbloom import Bloom

N = 50_000


def digest(k: int) -> int:
    return int.from_bytes(sha256(str(k).encode()).digest()[:16], "big", signed=True)


def falsely(make, shift: int) -> float:
    held, filled = [2 * k << shift for k in range(N)], make()
    filled.update(held)
    assert all(k in filled for k in held)
    return sum((2 * k + 1 << shift) in filled for k in range(N)) / N


assert len({hash(k << 36) for k in range(2 * N)}) == 2 * N  # no two hashes are equal
plain, shifted = (falsely(lambda: Bloom(N, 0.01), shift) for shift in (0, 36))
hashed = falsely(lambda: Bloom(N, 0.01, digest), 36)
other = falsely(lambda: BloomFilter(N, 0.01), 36)
print(f"integers {plain:.3f}, times 2^36 {shifted:.3f}, hashed {hashed:.3f}, abloom {other:.3f}")
assert plain < 0.02 and hashed < 0.02 and other < 0.02
if shifted < 0.05:
    sys.exit("changed: multiples of 2^36 are told apart")
print("still so")
P
