"""Cuts what a guest printed out of a run, as a fixture: the console as it was, the ring as /dev/kmsg gave it.

Beside the logs stands what happened, as the scenario knows it: the detector has no say in that.
"""

import json
import re
from pathlib import Path

import judge

BEFORE = 3
AFTER = 3
LINES_MAX = 260
QUIET_LINES_MAX = 1500
SENTINEL = re.compile(r"WARNING: .*fault_warn")
CUT_HERE = "------------[ cut here ]------------"


def keep(run, directory):
    """Writes SCENARIO.console.log, SCENARIO.kmsg.log (where the guest lived) and SCENARIO.json."""
    scenario = run.scenario
    quiet = scenario.get("quiet", False)
    target = Path(directory) / run.kernel
    target.mkdir(parents=True, exist_ok=True)
    kmsg = run.left / "kmsg.txt"
    logs = {"console": run.log}
    if not scenario.get("fatal") and not scenario.get("ends") and kmsg.exists():
        logs["kmsg"] = kmsg.read_text(errors="replace").splitlines()
    if quiet:
        cut = before_sentinel
    else:
        found = [s for s in run.watcher.store.snapshots() if judge.trigger(s)["kind"] in judge.kinds_of(scenario)]
        header = judge.body(judge.trigger(found[0])["text"][0])
        cut = lambda lines: around(lines, header)
    for carrier, lines in logs.items():
        text = "\n".join(line.rstrip("\r") for line in cut(lines)) + "\n"
        (target / f"{scenario['name']}.{carrier}.log").write_text(text)
    expected = {
        "kernel": (Path(run.image) / "release").read_text().strip(),
        "scenario": scenario["what"],
        "kinds": [] if quiet else judge.kinds_of(scenario),
        "functions": judge.functions_of(scenario),
        "panicked": bool(scenario.get("fatal")),
        "details": scenario.get("details", {}),
    }
    (target / f"{scenario['name']}.json").write_text(json.dumps(expected, indent=2) + "\n")


def message(line):
    """The text of a console line or of a record of /dev/kmsg, whose own line ends are escaped."""
    return line.split(";", 1)[1].split("\\x0a")[0] if re.match(r"\d+,\d+,\d+,", line) else judge.body(line)


def around(lines, header):
    """From a little before the header to a little behind the last mark of an end."""
    start = next((n for n, line in enumerate(lines) if message(line).strip() == header.strip()), 0)
    end = start
    for n in range(start, min(start + LINES_MAX, len(lines))):
        if judge.END.search(lines[n]):
            end = n
    return lines[max(start - BEFORE, 0) : end + 1 + AFTER]


def before_sentinel(lines):
    """A quiet log from its beginning; what the sentinel printed at its end is no part of it."""
    end = next((n for n, line in enumerate(lines) if SENTINEL.search(line)), len(lines))
    while end > 0 and message(lines[end - 1]).strip() in (CUT_HERE, ""):
        end -= 1
    return lines[:end][-QUIET_LINES_MAX:]
