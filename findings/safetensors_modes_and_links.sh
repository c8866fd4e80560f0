#!/usr/bin/env bash
# safetensors 0.8.0: `save_file` leaves a file that only its owner can read, whatever the umask, takes
# the rights of a group away from a file that is there, and puts a file in the place of a symbolic
# link. `open(path, "wb")` does none of these. The file is written under another name and renamed.
# Seen: mode 600 for a new file under umask 022, 600 for one that had 664, and the link gone, its
# target as it was.
# Worth knowing where a folder is shared by a group, or holds links to a larger disk.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q safetensors==0.8.0 numpy==2.4.6
cd "$here"
"$here/venv/bin/python" - <<'P'
import os
import stat
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

os.umask(0o022)
new, old, link = Path("new"), Path("old"), Path("link")
old.touch()
old.chmod(0o664)
target = Path("target")
target.touch()
link.symlink_to(target)
for path in (new, old, link):
    save_file({"w": np.ones(3)}, path)
modes = [stat.S_IMODE(path.stat().st_mode) for path in (new, old)]
seen = modes == [0o600, 0o600] and not link.is_symlink() and target.stat().st_size == 0
if not seen:
    sys.exit(f"changed: {[oct(mode) for mode in modes]}, link kept: {link.is_symlink()}")
print("still so:", [oct(mode) for mode in modes], "and no link")
P
