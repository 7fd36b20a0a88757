"""What a scenario must have led to, at both ends."""

import json
import re

# Where the text of a failure ends, as far as the kernel marks it.
END = re.compile(
    r"---\[ end |</TASK>|Killed process |Kernel panic - not syncing|Kernel Offset:|Rebooting in"
)
# What belongs to a dump and must not be missing from it.
DUMP = re.compile(
    r"^(BUG|Oops|WARNING|RIP:|Call Trace|Code:|CPU: |Hardware name|Kernel panic|---\[|R[A-Z0-9]{2}: |CR2|\s+\S+\+0x|Modules linked)"
)
# Where another failure begins, once the first one has ended.
ANOTHER = re.compile(
    r"(BUG[: ]|WARNING: |kernel BUG at|general protection|divide error|invalid opcode|INFO: task|rcu: INFO|watchdog: BUG|sysrq: |------------\[ cut)"
)
STAMP = re.compile(r"^\[\s*(\d+\.\d+)\](?:\[\s*[TC]\d+\])? ?")


def body(line):
    return STAMP.sub("", line.rstrip("\r\n"))


def stamp(line):
    found = STAMP.match(line)
    return float(found.group(1)) if found else None


def incident_of(snapshot):
    return snapshot["manifest"]["incident"] if snapshot.get("manifest") else snapshot["incident"]


def texts(snapshots):
    """Every line of log that these incidents carry."""
    lines = []
    for incident in map(incident_of, snapshots):
        for event in [incident["trigger"]["event"], *incident["events"]]:
            lines += event["text"]
    return lines


def trigger(snapshot):
    return incident_of(snapshot)["trigger"]["event"]


def block(log, header):
    """The lines of the failure that begins with `header`: to its last mark within three seconds."""
    wanted = body(header)
    start = next((n for n, line in enumerate(log) if body(line) == wanted), None)
    if start is None:
        return []
    begun = stamp(log[start])
    end = start
    for n in range(start, min(start + 400, len(log))):
        at = stamp(log[n])
        if begun is not None and at is not None and at > begun + 3:
            break
        if end > start and ANOTHER.match(body(log[n])):
            break
        if END.search(log[n]):
            end = n
    return log[start : end + 1]


def missing(log, header, kept):
    """Lines of the failure in the log that were not kept."""
    have = {body(line) for line in kept}
    return [line for line in (body(l) for l in block(log, header)) if DUMP.search(line) and line not in have]


class Verdict:
    def __init__(self):
        self.problems = []
        self.row = {}

    def expect(self, holds, problem):
        if not holds:
            self.problems.append(problem)
        return holds

    @property
    def passed(self):
        return not self.problems


def kinds_of(scenario):
    kind = scenario["kind"]
    return kind if isinstance(kind, list) else [kind]


def fault_snapshot(verdict, scenario, end, snapshots, must_panic):
    """The snapshot that the fault led to, checked for what it was and that nothing else was alarmed."""
    if not verdict.expect(snapshots, f"{end}: no snapshot"):
        return None
    found = None
    for snapshot in snapshots:
        event = trigger(snapshot)
        if event["kind"] in kinds_of(scenario) and found is None:
            found = snapshot
        elif event["kind"] not in kinds_of(scenario) + scenario.get("also", []) and not incident_of(snapshot)["follows"]:
            verdict.problems.append(f"{end}: also {event['kind']}: {event['title']}")
    if not verdict.expect(found, f"{end}: kind is {trigger(snapshots[0])['kind']}, not {scenario['kind']}"):
        return None
    event = trigger(found)
    functions = functions_of(scenario)
    if functions and not by_count(scenario, event):
        verdict.expect(event["function"] in functions, f"{end}: function is {event['function']}, not {functions}")
    for key, pattern in scenario.get("details", {}).items():
        value = str(event["details"].get(key, event.get(key)))
        verdict.expect(re.search(pattern, value), f"{end}: {key} is {value!r}, not {pattern!r}")
    kept = "\n".join(texts(snapshots))
    for pattern in scenario.get("says", []):
        verdict.expect(re.search(pattern, kept), f"{end}: {pattern!r} is in no text")
    verdict.expect(not must_panic or panics(snapshots), f"{end}: the panic is not noted")
    return found


def by_count(scenario, event):
    """Known by the kernel's own count, its text being overwritten before it was read: what a storm may lead to."""
    return scenario.get("may_be_overrun", False) and event["rule"] == "counter"


def functions_of(scenario):
    """What may be named; empty where it is not our module that is at fault."""
    function = scenario.get("function", [])
    return function if isinstance(function, list) else [function]


def panics(snapshots):
    events = [e for s in snapshots for e in [trigger(s), *incident_of(s)["events"]]]
    return [e for e in events if e["panicked"] or e["kind"] == "panic"]


def all_told(scenario, snapshots, log):
    """Whether the snapshots hold what a fault in several parts leads to, and every line of its first part."""
    lines = texts(snapshots)
    first = next((s for s in snapshots if trigger(s)["kind"] in kinds_of(scenario)), None)
    if first and trigger(first)["text"] and missing(log, trigger(first)["text"][0], lines):
        return False
    kept = "\n".join(lines)
    told = all(re.search(pattern, kept) for pattern in scenario.get("says", []))
    return bool(told and (not scenario.get("fatal") or panics(snapshots)))


def quiet(verdict, end, store, sentinel):
    """Nothing but the sentinel may have raised an alarm."""
    snapshots = store.snapshots()
    alarms = store.of("incident") + store.of("suppressed")
    if verdict.expect(len(snapshots) == 1, f"{end}: {len(snapshots)} snapshots, not the sentinel's alone"):
        event = trigger(snapshots[0])
        verdict.expect(event["function"] == sentinel, f"{end}: an alarm: {event['kind']}: {event['title']}")
        others = [e for e in snapshots[0]["manifest"]["incident"]["events"] if e["alarm"]]
        verdict.expect(not others, f"{end}: joined the sentinel: {[e['title'] for e in others]}")
    verdict.expect(len(alarms) == 1, f"{end}: alarms: {[a['title'] for a in alarms]}")


def durable_at(snapshot):
    """When T0 was on the disk, in seconds since the epoch; `None` without that tier."""
    manifest = snapshot.get("manifest") or {}
    for tier in manifest.get("tiers", []):
        if tier["tier"] == "T0" and tier.get("durable_ms") is not None:
            return manifest["started_at"] / 1e6 + tier["durable_ms"] / 1e3
    return None


def tasks(store, snapshot):
    rows = [json.loads(l) for l in store.entry(snapshot, "lastgasp/tasks.jsonl").splitlines() if l.strip()]
    return rows
