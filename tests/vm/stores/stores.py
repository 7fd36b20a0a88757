#!/usr/bin/env python3
"""Sick disks under the first store, which need a kernel of their own to be staged: a snapshot goes to the next store in
time, its manifest tells why, and it comes home when the disk is well again.

    stores.py --image DIR [--keep DIR] [NAME...]

Needs a static lastgasp in $LASTGASP. Ends with 0 when every scenario passed.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "crash"))
from guest import Guest  # noqa: E402

# The whole snapshot, on an emulated processor. The store is given three seconds of it.
WHOLE_MAX_MS = 15000

LINEAR = '''
dmsetup create first --table "0 $(size) linear /dev/vdc 0"
begin /dev/dm-0
'''
SCENARIOS = [
    {
        "name": "fsync-30s",
        "what": "each write and each flush takes 30 s (dm-delay)",
        "modules": ["dm_mod", "dm_delay"],
        "guest": LINEAR
        + '''
switch "0 $(size) delay /dev/vdc 0 0 /dev/vdc 0 30000 /dev/vdc 0 30000"
if hangs 5; then say "proof an fsync has not come back after 5 s"; fi
diverted
switch "0 $(size) linear /dev/vdc 0"
home
''',
        "proof": "an fsync has not come back",
        "error": "does not answer",
        "home": True,
    },
    {
        "name": "hung",
        "what": "no request to the disk comes back (dmsetup suspend)",
        "modules": ["dm_mod"],
        "guest": LINEAR
        + '''
dmsetup suspend --nolockfs --noflush first
if hangs 5; then say "proof a write is in state D"; fi
diverted
dmsetup resume first
home
''',
        "proof": "a write is in state D",
        "error": "does not answer",
        "home": True,
    },
    {
        "name": "io-errors",
        "what": "every sector of the disk fails (dm-error)",
        "modules": ["dm_mod"],
        "guest": LINEAR
        + '''
switch "0 $(size) error"
dd if=/dev/urandom of=/first/proof bs=64k count=4 conv=fsync 2>/tmp/dd && say "failed: it can be written to"
say "proof $(head -n 1 /tmp/dd)"
diverted
switch "0 $(size) linear /dev/vdc 0"
# The kernel has given the file system up: the operator mounts it again.
umount -l /first; usleep 500000; mount -t ext4 /dev/dm-0 /first || say "failed: mounted again"
home
''',
        "proof": "(I/O error|Read-only|Input/output)",
        "error": "(Input/output error|Read-only file system)",
        "home": True,
    },
    {
        "name": "pulled",
        "what": "the disk is pulled (scsi_debug)",
        "modules": ["dm_mod", "sd_mod"],
        "guest": '''
modprobe scsi_debug dev_size_mb=64 delay=0
within 30 test -b /dev/sda
dd if=/dev/vdc of=/dev/sda bs=1M count=64 2>/dev/null
begin /dev/sda
echo 1 >/sys/block/sda/device/delete
dd if=/dev/urandom of=/first/proof bs=64k count=4 conv=fsync 2>/tmp/dd && say "failed: it can be written to"
say "proof $(head -n 1 /tmp/dd); there is $(ls /dev/sda 2>/dev/null || echo no /dev/sda)"
diverted
''',
        "proof": "no /dev/sda",
        "error": "(Input/output error|Read-only file system|No such device)",
        "home": False,
    },
]


def contents(image, into):
    into.mkdir()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["e2fsck", "-fy", str(image)], **quiet)
    subprocess.run(["debugfs", "-R", f"rdump / {into}", str(image)], **quiet)
    return sorted(into.rglob("*.tar.zst"))


def run(scenario, image, keep):
    """One scenario; its row and its problems."""
    problems, row = [], {}
    directory = Path(tempfile.mkdtemp(prefix="stores-"))
    script = (HERE / "guest.sh").read_text() + scenario["guest"] + "\nend\n"
    try:
        guest = Guest({"before": script, "modules": scenario["modules"], "disks": ["data.img"], "timeout": 400,
                       "qemu": ["-drive", "file={dir}data.img,if=virtio,format=raw,cache=unsafe"]},
                      image, directory, directory / "console.log")
        guest.prepare()
        guest.run()
        words = [word for _, word in guest.words]
        log = "\n".join(words)
        if not guest.said("done"):
            problems.append("the guest did not come to its end")
        problems += [word for word in words if word.startswith("guest: failed")]
        row["proof"] = next((w.removeprefix("guest: proof ") for w in words if w.startswith("guest: proof")), "")
        if not re.search(scenario["proof"], row["proof"]):
            problems.append(f"the fault was not proven: {row['proof']!r}")
        told = re.search(r"is in (/store/snapshots/\S+): .* first tier on the disk after (\d+) ms, whole after (\d+) ms", log)
        if not told:
            problems.append("no snapshot told")
        else:
            row["t0"], row["whole"] = int(told[2]), int(told[3])
            if row["whole"] > WHOLE_MAX_MS:
                problems.append(f"{row['whole']} ms until the snapshot was whole")
        away = contents(directory / "store.img", directory / "away")
        home = contents(directory / "data.img", directory / "home")
        here, elsewhere = (home, away) if scenario["home"] else (away, home)
        # The fault may raise incidents of its own: the one that was staged is the warning.
        staged = [archive for archive in here if "-warning-" in archive.name]
        if len(staged) != 1 or elsewhere:
            problems.append(f"at home {[p.name for p in home]}, away {[p.name for p in away]}")
        problems += [fault for archive in staged for fault in judge(scenario, archive, row)]
        if problems:
            problems.append("the guest said: " + " / ".join(words[-12:]))
    finally:
        if keep and problems:
            shutil.copytree(directory, Path(keep) / scenario["name"], dirs_exist_ok=True,
                            ignore=lambda _, names: [n for n in names if n.endswith((".sock", ".img"))])
        shutil.rmtree(directory)
    return row, problems


def judge(scenario, archive, row):
    program = os.environ["LASTGASP"]
    done = subprocess.run([program, "verify", str(archive)], capture_output=True, text=True)
    if done.returncode != 0:
        yield f"it does not verify: {done.stdout}"
    shown = subprocess.run([program, "show", str(archive), "manifest.json"], capture_output=True, text=True)
    stores = json.loads(shown.stdout).get("stores", [])
    tried = next((s for s in stores if s["dir"] == "/first/store"), {})
    row["error"] = tried.get("error") or ""
    row["gave_up"] = tried.get("took_ms")
    if not re.search(scenario["error"], row["error"]):
        yield f"the manifest says of the first store: {tried}"
    if not stores or stores[-1]["dir"] != "/store/snapshots" or stores[-1]["error"]:
        yield f"the manifest's last store: {stores[-1:]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", required=True)
    parser.add_argument("--keep")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    picked = [s for s in SCENARIOS if not args.names or s["name"] in args.names]
    failed = 0
    print("| fault | proof | result | T0 ms | whole ms |\n| --- | --- | --- | --- | --- |")
    for scenario in picked:
        started = time.monotonic()
        for attempt in (1, 2):
            row, problems = run(scenario, args.image, args.keep)
            # An emulated processor now and then breaks a boot by itself.
            if not problems or attempt == 2 or row.get("proof"):
                break
        end = "home again" if scenario["home"] else "stays there"
        result = f"next store after {row.get('gave_up')} ms, {end}" if not problems else "FAILED"
        print(f"| {scenario['what']} | {row.get('proof')} | {result} | {row.get('t0')} | {row.get('whole')} |", flush=True)
        for problem in problems:
            print(f"    {scenario['name']}: {problem}")
        failed += bool(problems)
        print(f"    {scenario['name']}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    print(f"stores: {len(picked) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
