#!/usr/bin/env python3
"""Cuts a guest's power at random moments, and judges what is on its disk.

    power.py [--cuts N] [--jobs N] [--seed N] [--image DIR] [--lying] [--keep DIR]

The disk has a volatile write cache (disk.py). The moment is random in time, or, for half of the cuts, the random n-th write
to the disk: what is not flushed yet is there for milliseconds only, and time alone would seldom meet it. Each boot goes on from what the cut before left: a watch starts, completes
what it finds, and captures kernel faults one after the other, or does nothing, until the power is cut. The guest says on a
serial line what its watch logs; what was said before the cut must be true after it:

  * every published archive verifies, and is there if its publication was told;
  * every partial is opened by `lastgasp salvage`, or nothing in it was ever told;
  * the first tier is whole if the watch had told that it is on the disk;
  * state.json can be parsed, and every line of the history but a torn last one;
  * after a last start that is left in peace no partial is left, and what was salvaged tells that the machine went down.

Needs a static lastgasp in $LASTGASP. Ends with 0 when all of it held.
"""

import argparse
import concurrent.futures
import ctypes
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import disk as disks

DISK_BYTES = 96 << 20
# A fresh disk after so many cuts.
CHAIN = 20
CONFIG = """
[general]
host = "guest"
[store]
dirs = ["/store/snapshots"]
min_free = "1MiB"
max_count = 10000
[incident]
coalesce = "0s"
cooldown = "0s"
max_per_hour = 3600
[capture]
disk_benchmark = false
"""
# Sourced by the guest's init in place of the rest of it.
GUEST = """
setsid lastgasp --config /payload/guest.toml watch >&3 2>&3 &
within 60 spare_ready || say "failed: no spare"
say ready
case MODE in
idle) ;;
peace)
    none_left() { [ -z "$(find /store/snapshots -name '*.partial*')" ]; }
    within 60 none_left || say "failed: partials are left"
    sync
    say settled
    ;;
*) while :; do fault warn; fault null_read; usleep 300000; done ;;
esac
while :; do sleep 60; done
"""


class Boot:
    """One boot of the guest, up to its cut."""

    def __init__(self, directory, image, disk):
        self.dir, self.image, self.disk = Path(directory), Path(image), disk
        self.words = []
        self.heard = threading.Condition()

    def run(self, mode, moment):
        """Cuts `moment` seconds after the watch is ready (mode `start`: after its first word; modes `writes` and `first
        writes`: that many writes after it is, or after the boot); waits in mode `peace`."""
        with tarfile.open(self.dir / "payload.tar", "w") as tar:
            for name, text in (("settings", 'MODULES=""\n'), ("guest.toml", CONFIG), ("before", GUEST.replace("MODE", mode))):
                (self.dir / name).write_text(text)
                tar.add(self.dir / name, arcname=name)
        control = socket.socket(socket.AF_UNIX)
        path = self.dir / "control.sock"
        path.unlink(missing_ok=True)
        control.bind(str(path))
        control.listen(1)
        control.settimeout(30)
        self.disk.power_on()
        with open(self.dir / "qemu.log", "ab") as log:
            # Whatever ends us ends the guest.
            qemu = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_us)
        try:
            line = control.accept()[0]
            threading.Thread(target=self.listen, args=(line,), daemon=True).start()
            first = {"start": r"watch", "first writes": r"watch", "peace": r"^guest: settled"}.get(mode, r"^guest: ready")
            came = self.await_word(first, 150)
            if came and "writes" in mode:
                self.disk.arm(round(moment))
                # An idle disk may not be written to that often.
                self.disk.failed.wait(20)
            elif came:
                time.sleep(moment)
            lost = self.disk.cut()
            # Words on their way count only if they were said before: what the host has heard by now was.
            with self.heard:
                words = list(self.words)
        finally:
            qemu.kill()
            qemu.wait()
            control.close()
        return came, words, lost

    def command(self):
        at = str(self.dir) + "/"
        args = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "512", "-machine", "pc"]
        args += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        args += ["-kernel", str(self.image / "vmlinuz"), "-initrd", str(self.image / "initramfs")]
        args += ["-append", "console=ttyS0,115200 no_timer_check panic=1 oops_limit=0 quiet"]
        args += ["-drive", f"file=nbd:unix:{at}disk.sock,if=virtio,format=raw,cache=none"]
        args += ["-drive", f"file={at}payload.tar,if=virtio,format=raw,readonly=on"]
        args += ["-serial", f"file:{at}console.log"]
        args += ["-chardev", f"socket,id=control,path={at}control.sock", "-serial", "chardev:control"]
        return args

    def listen(self, line):
        rest = b""
        while True:
            try:
                data = line.recv(65536)
            except OSError:
                return
            if not data:
                return
            rest += data
            *whole, rest = rest.split(b"\n")
            with self.heard:
                self.words += [w.decode(errors="replace").strip() for w in whole]
                self.heard.notify_all()

    def await_word(self, pattern, seconds):
        until = time.monotonic() + seconds
        with self.heard:
            while not any(re.search(pattern, w) for w in self.words):
                left = until - time.monotonic()
                if left <= 0 or any(w.startswith("guest: failed") for w in self.words):
                    return False
                self.heard.wait(left)
        return True


class Chain:
    """Some cuts, one after the other, on one disk."""

    def __init__(self, number, cuts, args):
        self.number, self.cuts, self.args = number, cuts, args
        self.random = random.Random(args.seed * 1000 + number)
        self.problems = []
        self.durable = set()  # ids whose first tier was told to be on the disk
        self.published = {}  # id: name
        self.counts = {"cuts": 0, "archives": 0, "partials": 0, "t0": 0, "lost": 0, "again": 0, "salvaged": 0}
        self.modes = {}

    def go(self):
        self.dir = Path(tempfile.mkdtemp(prefix="power-"))
        try:
            image = self.dir / "fresh.img"
            with open(image, "wb") as f:
                f.truncate(DISK_BYTES)
            subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(image)], check=True)
            self.disk = disks.Disk(image.read_bytes(), seed=self.random.random(), lying=self.args.lying)
            self.disk.listen(str(self.dir / "disk.sock"))
            for n in range(self.cuts):
                mode = self.random.choice(["captures", "captures", "idle", "start", "writes", "writes", "writes", "first writes"])
                most = {"captures": 5, "idle": 3, "start": 2, "writes": 120, "first writes": 40}
                moment = self.random.uniform(0, most[mode])
                self.cut(n, mode, moment)
                if self.problems and self.args.keep:
                    break
            else:
                self.peace()
            self.disk.close()
        except Exception as error:  # one broken chain must not end the others
            self.problems.append(f"chain {self.number}: {type(error).__name__}: {error}")
        finally:
            if self.args.keep and self.problems:
                shutil.copytree(self.dir, Path(self.args.keep) / f"chain-{self.number}", dirs_exist_ok=True,
                                ignore=lambda _, names: [n for n in names if n.endswith(".sock")])
            shutil.rmtree(self.dir)
        return self

    def boot(self, mode, moment):
        """An emulated processor now and then loses a timer interrupt while booting: tried once more, and counted."""
        for _ in range(2):
            came, words, lost = Boot(self.dir, self.args.image, self.disk).run(mode, moment)
            self.counts["lost"] += lost
            if came:
                return words
            self.counts["again"] += 1
        self.problems.append(f"chain {self.number}: the guest did not come up in mode {mode}; it said {words[-4:]}")
        return words

    def cut(self, n, mode, moment):
        words = self.boot(mode, moment)
        self.counts["cuts"] += 1
        self.modes[mode] = self.modes.get(mode, 0) + 1
        self.hear(words)
        before = len(self.problems)
        left = self.judge(f"chain {self.number} cut {n} ({mode}, {moment:.2f})")
        if self.args.verbose or len(self.problems) > before:
            told = f"{len(self.durable)} T0 and {len(self.published)} archives told"
            print(f"chain {self.number} cut {n}: {mode} {moment:.2f}, {told}, {left} on the disk; {self.problems[before:]}", flush=True)

    def peace(self):
        """A last start that is left alone until nothing is to be completed."""
        self.hear(self.boot("peace", 0.0))
        self.judge(f"chain {self.number} in peace", last=True)

    def hear(self, words):
        for word in words:
            if m := re.search(r"snapshot (\w+): the first tier is on the disk", word):
                self.durable.add(m[1])
            if m := re.search(r"snapshot (\w+) is in (\S+\.tar\.zst):", word):
                self.published[m[1]] = os.path.basename(m[2])

    def judge(self, what, last=False):
        def expect(holds, text):
            if not holds:
                self.problems.append(f"{what}: {text}")

        image, left = self.dir / "cut.img", self.dir / "left"
        image.write_bytes(self.disk.medium)
        shutil.rmtree(left, ignore_errors=True)
        left.mkdir()
        # What the next mount does: the journal is replayed. 4: something else was wrong with the file system.
        code = subprocess.run(["e2fsck", "-fy", str(image)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
        expect(code < 4, f"e2fsck ends with {code}")
        subprocess.run(["debugfs", "-R", f"rdump / {left}", str(image)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        store = left / "snapshots"
        archives = sorted(store.glob("*.tar.zst")) if store.exists() else []
        tiers = {}  # id: tiers that are whole
        for archive in archives:
            done = self.run("verify", archive)
            expect(done.returncode == 0, f"{archive.name} does not verify: {done.stdout} {done.stderr}")
            manifest = self.manifest(archive)
            whole = {t["tier"] for t in manifest["tiers"]} if manifest else set()
            tiers.setdefault(ident(archive.name), set()).update(whole)
            if last and manifest and manifest["salvaged"]:
                self.counts["salvaged"] += 1
                completed = manifest.get("completed") or {}
                known = completed.get("boot_id") and completed.get("booted_at") is not None
                expect(completed.get("machine_went_down") is True and known, f"{archive.name} does not know its end: {completed}")
        partials = sorted(store.glob("*.partial")) if store.exists() else []
        for partial in partials:
            to = self.dir / "salvaged"
            to.unlink(missing_ok=True)
            done = self.run("--format", "json", "salvage", partial, "-o", to)
            expect(done.returncode in (0, 3), f"salvage {partial.name}: {done.returncode} {done.stderr}")
            told = json.loads(done.stdout)[0] if done.stdout else {}
            saved = told.get("salvaged")
            if told.get("output"):
                expect(self.run("verify", to).returncode == 0, f"what was salvaged of {partial.name} does not verify")
                whole = set(saved["tiers"]) if saved else {"T0", "T1", "T2"}
                tiers.setdefault(ident(partial.name), set()).update(whole)
        for i in self.durable:
            # A retry has a letter behind the id.
            expect("T0" in tiers.get(i, set()), f"the first tier of {i} was told to be on the disk and is not")
        for i, name in self.published.items():
            expect((store / name).exists(), f"{name} was told to be published and is not there")
        self.judge_state(store, expect)
        expect(not last or not partials, f"partials are left: {[p.name for p in partials]}")
        self.counts.update(archives=self.counts["archives"] + (len(archives) if last else 0), t0=len(self.durable))
        self.counts["partials"] += len(partials)
        return f"{len(archives)} archives, {len(partials)} partials"

    def judge_state(self, store, expect):
        state, history = store / "state.json", store / "history.jsonl"
        if state.exists():
            try:
                json.loads(state.read_bytes())
            except ValueError as error:
                expect(False, f"state.json: {error}")
        if history.exists():
            *lines, _ = history.read_bytes().split(b"\n")
            bad = [line for line in lines if line and not parses(line)]
            expect(len(bad) <= self.counts["cuts"], f"{len(bad)} lines of the history are torn")
            self.torn = len(bad)

    def run(self, *args):
        return subprocess.run([os.environ["LASTGASP"], *map(str, args)], capture_output=True, text=True)

    def manifest(self, archive):
        done = self.run("show", archive, "manifest.json")
        return json.loads(done.stdout) if done.returncode == 0 else None


def die_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def ident(name):
    return name.split(".tar.zst")[0].rsplit("-", 1)[-1][:8]


def parses(line):
    try:
        json.loads(line)
        return True
    except ValueError:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--image", required=True, help="directory of the guest: vmlinuz, initramfs")
    parser.add_argument("--lying", action="store_true", help="the disk ignores flushes: the judge must find that out")
    parser.add_argument("--keep", help="directory for the disks of chains with problems")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    disks.check()
    # What a killed QEMU leaves is ours to bury.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    sizes = [CHAIN] * (args.cuts // CHAIN) + ([args.cuts % CHAIN] if args.cuts % CHAIN else [])
    started = time.monotonic()
    print(f"{args.cuts} cuts in {len(sizes)} chains, seed {args.seed}{', with a disk that lies' if args.lying else ''}", flush=True)
    done = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for chain in pool.map(lambda c: c.go(), [Chain(n, size, args) for n, size in enumerate(sizes)]):
            done.append(chain)
            print(f"chain {chain.number}: {chain.counts} {chain.modes} {'FAILED' if chain.problems else 'ok'}", flush=True)
    total = {key: sum(c.counts[key] for c in done) for key in done[0].counts}
    problems = [p for c in done for p in c.problems]
    print(
        f"power: {total['cuts']} cuts, {total['lost']} unflushed writes lost, {total['partials']} partials opened, "
        f"{total['archives']} archives verified at the end ({total['salvaged']} of them completed by a later start), "
        f"T0 told {total['t0']} times and always there"
        if not problems
        else f"power: {len(problems)} problems after {total['cuts']} cuts"
    )
    print(f"boots tried again: {total['again']}; {time.monotonic() - started:.0f} s")
    for problem in problems[:40]:
        print(f"  {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
