"""Mutation score of src/cisp: small faults planted one by one, and whether the tests see them.

    python tools/mutants.py --draw 200 --seed 0 --seconds 100

Of every module at least four faults are drawn, and others at random until there are enough. A
first run finds what every test reaches, and what it costs. Each fault then meets the tests that
reach its statement, file by file, the module's own first and then the cheapest, up to the first
failure. What runs five times as long as it should has failed. After the processor seconds given
a fault is undecided; a later call with more goes on from there, and is done at once with all that
was decided before. Everything is kept in a folder (--kept), and holds until a source or a test
file changes. The score and each survivor are printed, to be read: a survivor is either an equal
program, to be named in faults.EQUAL with the reason, or a test that is missing.

Run it in a clone: the tests write files beside them.
"""

import argparse
import json
import re
import tempfile
import time
from collections import Counter
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from faults import EQUAL, PACKAGE, Mutant, drawn, mutated, statements
from reached import ROOT, Watch, forked, imported, package, reach, ready, run

MORE, SPARE = 5, 20  # a run may take so many times what it should, and seconds on top
LONG = 1800  # processor seconds for all tests of a file, on the first run


def plan(mutant: Mutant, reached: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each test file the tests that can see the fault, by cost; the nearest file first."""
    found: dict[str, dict[str, float]] = {}
    holds = statements(mutant)
    for file, known in reached.items():
        places = {number for number, name in enumerate(known["names"]) if name in holds}
        well = {t: each for t, each in known["tests"].items() if t not in known["failed"]}
        order = {t: cost for t, (cost, hits) in well.items() if places & {*hits}}
        if order:
            found[file] = order
    if not found:  # what only another process reaches, if any
        owner = re.compile(rf"\b{mutant.owner or Path(mutant.module).stem}\b")
        for file, known in reached.items():
            if owner.search((ROOT / file).read_text(encoding="utf-8")):
                found[file] = {t: cost for t, (cost, _) in known["tests"].items()}
    own = {f"tests/test_{Path(mutant.module).stem}.py", f"src/cisp/{mutant.module}.py"}
    return dict(sorted(found.items(), key=lambda item: (item[0] not in own, sum(item[1].values()))))


def tried(file: str, folder: Path, order: dict[str, float], known: set[str]) -> list[str]:
    """The first failure in a file, in a process that has the fault."""
    watch = Watch(order, known)
    run(file, folder, watch, first=True)
    return watch.failed


def judged(
    mutant: Mutant,
    reached: dict[str, dict[str, Any]],
    passed: dict[str, str],
    seconds: float,
    plain: Path,
) -> dict[str, Any]:
    """The verdict, by which test, the processor seconds, and the files that saw nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder, log = Path(name), Path(name, "log")
        package(folder, plain / "cisp")
        path = folder / "cisp" / f"{mutant.module}.py"
        path.write_text(mutated(mutant), encoding="utf-8")
        for old in path.parent.glob(f"__pycache__/{path.stem}.*"):
            old.unlink()  # it may be as old, and as long, as the fault
        work = partial(_judged, mutant, reached, passed, seconds, folder)
        found, cost, over = forked(work, log, 2 * seconds + 60)
        if found is None:
            assert over, log.read_text(encoding="utf-8")
            found = {"verdict": "killed", "by": "at import: without end", "passed": {}}
        if "at import" in found["by"]:  # is it the fault?
            whole, _, _ = forked(partial(imported, plain), log, LONG)
            assert whole, f"what was not changed is not imported: {log.read_text(encoding='utf-8')}"
        return {**found, "seconds": cost}


def _judged(
    mutant: Mutant,
    reached: dict[str, dict[str, Any]],
    passed: dict[str, str],
    seconds: float,
    folder: Path,
) -> dict[str, Any]:
    try:
        imported(folder)
    except Exception as error:
        return {"verdict": "killed", "by": f"at import: {error!r:.80}", "passed": {}}
    seen: dict[str, str] = {}
    for file, order in plan(mutant, reached).items():
        digest, known = reached[file]["digest"], {*reached[file]["tests"]}
        if passed.get(file) != digest:
            usual = sum(order.values())
            if seconds < 1:
                return {"verdict": "undecided", "by": file, "passed": seen}
            work, allowed = partial(tried, file, folder, order, known), MORE * usual + SPARE
            failed, cost, over = forked(work, folder / "file.log", min(allowed, seconds))
            if over and allowed > seconds:
                return {"verdict": "undecided", "by": file, "passed": seen}
            if over or failed or failed is None:
                by = "without end" if over else failed[0] if failed else "died"
                return {"verdict": "killed", "by": f"{file}::{by}", "passed": seen}
            seconds -= cost
        seen[file] = digest
    return {"verdict": "survived", "by": "", "passed": seen}


def told(chosen: list[Mutant], rows: dict[str, dict[str, Any]]) -> None:
    """The score of each module and of all; then what is not killed, to be read."""
    counts: dict[str, Counter[str]] = {}
    for mutant in chosen:
        verdict = rows.get(name(mutant), {}).get("verdict", "not run")
        counts.setdefault(mutant.module, Counter())[verdict] += 1
    for module, count in sorted(counts.items()):
        print(f"{module:28} {dict(count)}")
    for verdict in ("survived", "undecided", "equal"):
        for mutant in chosen:
            row = rows.get(name(mutant), {})
            if row.get("verdict") == verdict:
                print(f"{verdict:9} {shown(mutant)}   {row['by']}")
    every = sum(counts.values(), Counter[str]())
    killed, decided = every["killed"], every["killed"] + every["survived"]
    print(f"{len(chosen)} drawn: {dict(every)}")
    print(f"score {killed / max(decided, 1):.1%} of {decided} decided")


def where(mutant: Mutant) -> str:
    """Module, line and function."""
    return f"{mutant.module}.py:{mutant.line} {mutant.owner}"


def shown(mutant: Mutant) -> str:
    """The fault, to be read."""
    return f"{where(mutant)}: {mutant.says}  in  {mutant.text}"


def name(mutant: Mutant) -> str:
    """What a verdict is kept under: the module as it is, and the fault."""
    text = (PACKAGE / f"{mutant.module}.py").read_bytes()
    return f"{mutant.module} {mutant.place} {sha256(text).hexdigest()[:16]}"


def main() -> None:
    """The score of the faults drawn, and those that survived."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--draw", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", default="", help="a regular expression of module.py:line")
    options.add_argument("--seconds", type=float, default=100, help="of the processor, for a fault")
    options.add_argument("--minutes", type=float, default=float("inf"), help="on the clock, in all")
    options.add_argument("--kept", type=Path, default=Path(".mutants"))
    given = options.parse_args()
    end = time.monotonic() + 60 * given.minutes
    ready()
    folder: Path = given.kept.resolve()
    reached = dict(reach(folder, LONG))
    rows, kept = dict[str, dict[str, Any]](), folder / "verdicts.jsonl"
    if kept.exists():
        for line in kept.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows[row["name"]] = row
    chosen = [m for m in drawn(given.draw, given.seed) if re.match(given.only, where(m))]
    for mutant in sorted(chosen, key=lambda mutant: name(mutant) in rows):  # new ones first
        before = rows.get(name(mutant), {"verdict": "not run", "passed": {}})
        passed = {f: d for f, d in before["passed"].items() if reached[f]["digest"] == d}
        again = before["verdict"] in ("survived", "undecided") and (
            plan(mutant, reached).keys() - passed
        )
        if why := EQUAL.get((mutant.module, mutant.text, mutant.says)):
            rows[name(mutant)] = {**before, "verdict": "equal", "by": why}
        elif (again or before["verdict"] == "not run") and time.monotonic() < end:
            row = {
                "name": name(mutant),
                **judged(mutant, reached, passed, given.seconds, folder / "plain"),
            }
            rows[name(mutant)] = row
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            cost = f"{row['seconds']:5.0f} s"
            print(f"{row['verdict']:9} {cost}  {shown(mutant)}   {row['by']}", flush=True)
    told(chosen, rows)


if __name__ == "__main__":
    main()
