"""Cuts what a fault printed out of a run, as a fixture: the console as it was, the ring as /dev/kmsg gave it."""

import json
import re
from pathlib import Path

import judge

BEFORE = 3
AFTER = 3
LINES_MAX = 260


def keep(run, directory):
    """Writes SCENARIO.console.log, SCENARIO.kmsg.log (where the guest lived) and SCENARIO.json beside each other."""
    scenario = run.scenario
    snapshots = run.watcher.store.snapshots()
    found = [s for s in snapshots if judge.trigger(s)["kind"] in judge.kinds_of(scenario)]
    if not found:
        return
    target = Path(directory) / run.kernel
    target.mkdir(parents=True, exist_ok=True)
    name = scenario["name"]
    header = judge.body(judge.trigger(found[0])["text"][0])
    release = (run.image / "release").read_text().strip() if isinstance(run.image, Path) else Path(run.image, "release").read_text().strip()
    # Every failure that belongs to the incident, so that what follows the first one is there too.
    console = cut(run.log, header)
    (target / f"{name}.console.log").write_text("\n".join(console) + "\n")
    kmsg = run.left / "kmsg.txt"
    if not scenario.get("fatal") and kmsg.exists():
        records = kmsg.read_text(errors="replace").splitlines()
        text = cut(records, header, lambda l: l.split(";", 1)[-1])
        (target / f"{name}.kmsg.log").write_text("\n".join(text) + "\n")
    expected = {
        "kernel": release,
        "scenario": scenario["what"],
        "kind": scenario["kind"],
        "function": scenario.get("function"),
        "panicked": bool(scenario.get("fatal")) and "panic" not in judge.kinds_of(scenario),
        "details": scenario.get("details", {}),
    }
    (target / f"{name}.json").write_text(json.dumps(expected, indent=2) + "\n")


def cut(lines, header, body=judge.body):
    """From a little before the header to a little behind the last mark of an end."""
    start = next((n for n, line in enumerate(lines) if body(line).strip() == header.strip()), 0)
    end = start
    for n in range(start, min(start + LINES_MAX, len(lines))):
        if judge.END.search(lines[n]):
            end = n
        if n > start and re.search(r"WARNING: .*fault_warn", lines[n]) and "fault_warn" not in header:
            break
    return [line.rstrip("\r") for line in lines[max(start - BEFORE, 0) : end + 1 + AFTER]]
