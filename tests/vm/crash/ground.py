#!/usr/bin/env python3
"""The proving ground: boots real kernels, really crashes them, and checks what lastgasp made of it.

    ground.py [--kernel 6.1,6.1-rt,6.12] [--jobs N] [--keep DIR] [--results FILE] [--table FILE]
              [--record DIR] SCENARIO...

SCENARIO is a name of scenarios.toml, `all`, `part` (what the continuous test runs), `faults` or `quiet`. Needs a
statically linked lastgasp in $LASTGASP; tests/vm/run builds one. Ends with 0 when every scenario passed.

Both ends watch. In the guest lastgasp reads /dev/kmsg and writes snapshots to a disk of its own; on this host it
follows the guest's serial console as a file. A fault that leaves the kernel alive must be in the guest's archive
with its whole trace and the states of the tasks; a fatal one in the host's with the whole panic text.
"""

import argparse
import concurrent.futures
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

import judge
import record
import table
from guest import Guest
from watcher import Store, Watcher, free_port

HERE = Path(__file__).resolve().parent
SENTINEL = "fault_warn"
# In the words of the kernel, for a guest that is off and cannot raise its own.
SENTINEL_LINE = "[99999.000000] WARNING: CPU: 0 PID: 1 at tests/sentinel.c:1 fault_warn+0x1/0x2\n"


def scenarios():
    with open(HERE / "scenarios.toml", "rb") as f:
        return {s["name"]: s for s in tomllib.load(f)["scenario"]}


def chosen(names, known):
    picked = []
    for name in names:
        if name == "all":
            picked += known.values()
        elif name == "part":
            picked += [s for s in known.values() if s.get("part")]
        elif name == "quiet":
            picked += [s for s in known.values() if s.get("quiet")]
        elif name == "faults":
            picked += [s for s in known.values() if not s.get("quiet")]
        elif name in known:
            picked.append(known[name])
        else:
            sys.exit(f"no scenario {name}; there are: all part faults quiet {' '.join(known)}")
    return list({s["name"]: s for s in picked}.values())


class Run:
    """One scenario on one kernel."""

    def __init__(self, scenario, kernel, image, program, args):
        self.scenario = scenario
        self.kernel = kernel
        self.image = image
        self.program = program
        self.keep = args.keep
        self.record = args.record
        self.verdict = judge.Verdict()

    def go(self):
        self.dir = Path(tempfile.mkdtemp(prefix="ground-"))
        try:
            for attempt in (1, 2):
                if self.boot(attempt) and self.verdict.passed or attempt == 2:
                    break
                # An emulated processor now and then loses a timer interrupt, or seconds, on a busy host: so it is tried once
                # more, and said.
                print(f"again {self.kernel} {self.scenario['name']}: {'; '.join(self.verdict.problems)[:200]}", flush=True)
                shutil.rmtree(self.dir)
                self.dir.mkdir()
            if self.record and self.verdict.passed and not self.scenario.get("noted"):
                if not self.scenario.get("quiet") or self.scenario.get("record"):
                    record.keep(self, self.record)
        except Exception as error:  # one broken run must not end the others
            self.verdict.problems.append(f"{type(error).__name__}: {error}")
        finally:
            if self.keep:
                kept = Path(self.keep) / f"{self.kernel}-{self.scenario['name']}"
                shutil.rmtree(kept, ignore_errors=True)
                (self.dir / "store.img").unlink(missing_ok=True)
                shutil.copytree(self.dir, kept, ignore=lambda _, names: [n for n in names if n.endswith((".sock", ".img"))])
            shutil.rmtree(self.dir)
        return self

    def result(self):
        return {
            "kernel": self.kernel,
            "release": (Path(self.image) / "release").read_text().strip(),
            "scenario": self.scenario["name"],
            "problems": self.verdict.problems,
            "row": self.verdict.row,
        }

    def boot(self, attempt):
        """`False`: the guest did not come up, so that another try is worth it."""
        self.verdict = judge.Verdict()
        self.verdict.row["attempts"] = attempt
        self.console = self.dir / "consoles" / f"{self.scenario['name']}.log"
        self.console.parent.mkdir()
        port = free_port() if self.scenario.get("netconsole") else None
        self.guest = Guest(self.scenario, self.image, self.dir, self.console, port)
        self.guest.prepare()
        self.watcher = Watcher(self.program, self.dir, self.console, port)
        try:
            self.guest.run()
            self.verdict.row["seconds"] = self.guest.seconds
            if not self.guest.said("ready") and not self.scenario.get("bare"):
                said = [w for _, w in self.guest.words][-6:]
                self.verdict.problems.append(f"the guest did not come up; it said {said}")
                self.left = self.guest.files()
                return False
            self.judge()
        finally:
            self.watcher.stop()
        return True

    def judge(self):
        scenario, verdict = self.scenario, self.verdict
        verdict.expect(not self.guest.timed_out, "the guest did not end in time")
        for word in ("failed", "no snapshot", "nothing noted"):
            verdict.expect(not self.guest.said(word), f"guest: {word}")
        self.log = self.console.read_bytes().decode(errors="replace").splitlines()
        self.left = self.guest.files()
        self.inside = Store(self.program, self.left / "snapshots")
        if scenario.get("quiet"):
            self.judge_quiet()
        elif scenario.get("noted"):
            self.judge_noted()
        else:
            self.judge_fault()

    def judge_quiet(self):
        if self.scenario.get("ends"):
            with open(self.console, "a") as f:
                f.write(SENTINEL_LINE)
        else:
            judge.quiet(self.verdict, "guest", self.inside, SENTINEL)
        self.watcher.within(30, lambda: self.watcher.store.of("captured") and self.watcher.settled())
        # A console does not say who wrote a line.
        if not self.scenario.get("host_cannot_know"):
            judge.quiet(self.verdict, "host", self.watcher.store, SENTINEL)
        host = "cannot know" if self.scenario.get("host_cannot_know") else "quiet"
        self.verdict.row.update(kind="quiet", guest="-" if self.scenario.get("ends") else "quiet", host=host)

    def judge_noted(self):
        """Events that are worth a line and no snapshot: seen at both ends, alarmed at none but by the sentinel."""
        judge.quiet(self.verdict, "guest", self.inside, SENTINEL)
        self.watcher.within(30, lambda: self.watcher.store.of("captured") and self.watcher.settled())
        judge.quiet(self.verdict, "host", self.watcher.store, SENTINEL)
        for end, store in (("guest", self.inside), ("host", self.watcher.store)):
            noted = [row for row in store.of("noted") if row["kind"] == self.scenario["noted"]]
            self.verdict.expect(noted, f"{end}: no {self.scenario['noted']} noted")
        self.verdict.row.update(kind=self.scenario["noted"], guest="noted", host="noted")

    def judge_fault(self):
        scenario, verdict = self.scenario, self.verdict
        fatal = scenario.get("fatal", False)
        self.watcher.within(40, lambda: self.watcher.store.of("captured") and self.watcher.settled())
        # What comes after the first snapshot was complete is in a further one, at the latest when the burst is over.
        self.watcher.within(20, lambda: judge.all_told(scenario, self.watcher.store.snapshots(), self.log))
        seen = self.watcher.store.snapshots()
        host = judge.fault_snapshot(verdict, scenario, "host", seen, fatal)
        if host:
            header = judge.trigger(host)["text"][0]
            gone = judge.missing(self.log, header, judge.texts(seen))
            verdict.expect(not gone, f"host: {len(gone)} lines of the text missing, first {gone[:1]}")
            verdict.row["host_ms"] = self.host_latency(host, header)
            verdict.row["function"] = judge.trigger(host)["function"]
            verdict.row["kind"] = judge.trigger(host)["kind"]
        verdict.expect(self.watcher.store.verify(), "host: an archive does not verify")
        verdict.row["host"] = "whole" if host else "-"
        if fatal:
            verdict.row["guest"] = "salvage" if list((self.left / "snapshots").glob("*.partial")) else "-"
            return
        inside = self.inside.snapshots()
        guest = judge.fault_snapshot(verdict, scenario, "guest", inside, False)
        verdict.row["guest"] = "whole" if guest else "-"
        if guest:
            self.judge_inside(guest, inside)

    def judge_inside(self, snapshot, snapshots):
        """The guest's own archive: the whole trace, and what the tasks did."""
        verdict = self.verdict
        event = judge.trigger(snapshot)
        if judge.by_count(self.scenario, event):
            verdict.row["guest"] = "by count"
            return
        dmesg = (self.left / "dmesg.txt").read_text(errors="replace").splitlines()
        stored = self.inside.entry(snapshot, "sos_commands/kernel/dmesg").splitlines()
        stored += self.inside.entry(snapshot, "lastgasp/dmesg_late.txt").splitlines()
        stored += judge.texts(snapshots)
        gone = judge.missing(dmesg, event["text"][0], stored)
        verdict.expect(not gone, f"guest: {len(gone)} lines of the trace missing, first {gone[:1]}")
        kept = judge.missing(dmesg, event["text"][0], judge.texts(snapshots))
        verdict.expect(not kept, f"guest: {len(kept)} lines missing from the event, first {kept[:1]}")
        tasks = judge.tasks(self.inside, snapshot)
        verdict.expect(len(tasks) > 20, f"guest: only {len(tasks)} tasks")
        verdict.expect(all(t.get("state") for t in tasks), "guest: a task without state")
        if self.scenario.get("task_state"):
            state = self.scenario["task_state"]
            verdict.expect(
                any(t["state"] == state and t["comm"] == event["comm"] for t in tasks),
                f"guest: task {event['comm']} is not shown in state {state}",
            )
        for path, pattern in self.scenario.get("entries", {}).items():
            found = re.search(pattern, self.inside.entry(snapshot, path), re.MULTILINE)
            verdict.expect(found, f"guest: no {pattern!r} in {path}")
        verdict.expect(self.inside.verify(), "guest: an archive does not verify")
        verdict.row["guest_ms"] = self.guest_latency(snapshot, event)

    def host_latency(self, snapshot, header):
        """Milliseconds from the arrival of the first line to T0 on the disk."""
        durable = judge.durable_at(snapshot)
        offset = self.console.read_bytes().find(header.encode())
        arrived = self.guest.arrival_of(offset + len(header)) if offset >= 0 else None
        return None if durable is None or arrived is None else (durable - arrived) * 1e3

    def guest_latency(self, snapshot, event):
        """Milliseconds from the printk stamp of the first line to T0 on the disk, both by the guest's clocks."""
        clocks = self.left / "clocks.txt"
        durable = judge.durable_at(snapshot)
        if durable is None or not clocks.exists() or not event["timestamp"]:
            return None
        wall, up = (float(x) for x in clocks.read_text().split())
        took = (durable - (wall - up) - float(event["timestamp"])) * 1e3
        # The clock of printk stands still while the machine sleeps.
        return took if took >= 0 else None


def adopt_orphans():
    """Roles of a watch may outlive it for a moment; whoever is init here may be slow to bury them."""
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def bury_orphans():
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.05)
        except ChildProcessError:
            return


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernel", default="6.1", help="6.1, 6.1-rt, 6.12, or several with commas")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="guests at once")
    parser.add_argument("--keep", help="directory for everything that a run leaves")
    parser.add_argument("--results", help="file that gathers results over several runs, for the table")
    parser.add_argument("--table", help="Markdown file whose table is replaced")
    parser.add_argument("--record", help="directory for cut logs of the faults, as fixtures")
    parser.add_argument("names", nargs="+", metavar="SCENARIO")
    args = parser.parse_args()
    program = os.environ.get("LASTGASP") or sys.exit("LASTGASP names no program")
    picked = chosen(args.names, scenarios())
    kernels = args.kernel.split(",")
    images = {}
    for kernel in kernels:
        done = subprocess.run([HERE / "image.sh", kernel, program], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"no guest of kernel {kernel}")
        images[kernel] = done.stdout.strip()
    runs = [
        Run(s, k, images[k], program, args) for k in kernels for s in picked if k in s.get("kernels", kernels)
    ]
    adopt_orphans()
    lock = threading.Lock()
    done = []
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for run in pool.map(lambda r: finished(r, lock), runs):
            done.append(run)
    bury_orphans()
    results = [r.result() for r in done]
    if args.results:
        results = gathered(Path(args.results), results)
    if args.table:
        table.write(Path(args.table), table.markdown(results, scenarios()))
    failed = [r for r in done if not r.verdict.passed]
    print(table.latencies([r.result() for r in done]))
    print(f"proving ground: {len(done) - len(failed)} passed, {len(failed)} failed, {time.monotonic() - started:.0f} s")
    for run in failed:
        print(f"  {run.kernel} {run.scenario['name']}: {'; '.join(run.verdict.problems)}")
    sys.exit(1 if failed else 0)


def gathered(file, results):
    """These results and those of earlier runs in the file; of each scenario on each kernel the last one counts."""
    known = json.loads(file.read_text()) if file.exists() else []
    last = {(r["kernel"], r["scenario"]): r for r in known + results}
    file.write_text(json.dumps(list(last.values()), indent=1) + "\n")
    return list(last.values())


def finished(run, lock):
    run.go()
    with lock:
        print(table.line(run), flush=True)
    return run


if __name__ == "__main__":
    main()
