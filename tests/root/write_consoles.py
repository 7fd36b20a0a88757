"""Writes console logs for 30-consoles.sh: ordinary lines, marked oopses, rotation while writing.

    write_consoles.py DIR CONSOLES BYTES OOPSES CONSUMED

CONSUMED is a command that exits 0 when all lines written so far, given as its argument, were read.
Rotation alternates: by rename (the writer goes on into the renamed file for a while, as a daemon does
until it is told to reopen), and by copytruncate. What is written between the copy and the truncate is in
neither file, with any reader: so before a copytruncate, and there only, the writer waits until everything
was read, and writes nothing in between.

Prints one JSON line of what was written.
"""

import json
import os
import shutil
import subprocess
import sys
import time

NOISE = (
    "[{t:12.6f}] usb {n}-1: new high-speed USB device number {n} using xhci_hcd",
    "[{t:12.6f}] EXT4-fs (sda{n}): mounted filesystem with ordered data mode. Quota mode: none.",
    "[{t:12.6f}] e1000e 0000:00:1f.6 eth{n}: NIC Link is Up 1000 Mbps Full Duplex, Flow Control: Rx/Tx",
    "systemd[1]: Started Session {n} of User root.",
    "login: root (automatic login) on ttyS{n}",
    "[{t:12.6f}] audit: type=1400 apparmor=\"STATUS\" operation=\"profile_load\" name=\"/usr/sbin/p{n}\"",
)
OOPS = """\
[{t:12.6f}] BUG: kernel NULL pointer dereference, address: 00000000000000{n:02x}
[{t:12.6f}] #PF: supervisor read access in kernel mode
[{t:12.6f}] #PF: error_code(0x0000) - not-present page
[{t:12.6f}] PGD 0 P4D 0
[{t:12.6f}] Oops: 0000 [#1] PREEMPT SMP NOPTI
[{t:12.6f}] CPU: 0 PID: {pid} Comm: worker Not tainted 6.1.0 #1
[{t:12.6f}] RIP: 0010:{function}+0x10/0x20 [marked]
[{t:12.6f}] Call Trace:
[{t:12.6f}]  <TASK>
[{t:12.6f}]  {function}_caller+0x10/0x20 [marked]
[{t:12.6f}]  do_syscall_64+0x40/0x90
[{t:12.6f}]  </TASK>
[{t:12.6f}] ---[ end trace 0000000000000000 ]---
"""


class Console:
    def __init__(self, path):
        self.path = path
        self.file = open(path, "ab", buffering=0)
        self.lines = 0
        self.bytes = 0
        self.rotations = 0
        self.clock = 1.0
        self.old = None

    def write(self, text):
        data = text.encode()
        self.file.write(data)
        self.bytes += len(data)
        self.lines += data.count(b"\n")
        self.clock += 0.001

    def noise(self, lines):
        start = self.lines
        rows = (NOISE[(start + i) % len(NOISE)].format(t=self.clock + i * 1e-5, n=(start + i) % 97) for i in range(lines))
        self.write("\n".join(rows) + "\n")

    def oops(self, function, number):
        self.write(OOPS.format(t=self.clock, n=number % 251, pid=1000 + number, function=function))

    def shift(self):
        """x.1 becomes x.2, and so on; the oldest of five goes."""
        self.rotations += 1
        for n in range(5, 0, -1):
            if os.path.exists(f"{self.path}.{n}"):
                os.rename(f"{self.path}.{n}", f"{self.path}.{n + 1}")
        if os.path.exists(f"{self.path}.6"):
            os.unlink(f"{self.path}.6")

    def rename(self):
        self.shift()
        os.rename(self.path, f"{self.path}.1")
        # Not yet told to reopen.
        self.noise(500)
        self.file.close()
        self.file = open(self.path, "ab", buffering=0)

    def copytruncate(self):
        self.shift()
        shutil.copyfile(self.path, f"{self.path}.1")
        os.truncate(self.path, 0)


def main():
    directory, consoles, size, oopses, consumed = sys.argv[1:6]
    logs = [Console(os.path.join(directory, f"node{n}.log")) for n in range(int(consoles))]
    each, marks = int(size) // len(logs), int(oopses)
    functions = []
    began = time.monotonic()
    waited = 0.0
    # A step of each console in turn; an oops in the middle of some steps, a rotation after some.
    steps = marks * 4
    for step in range(steps):
        for number, log in enumerate(logs):
            while log.bytes < each * (step + 1) // steps:
                log.noise(200)
            if step % 4 == number % 4:
                function = f"marked_{number}_{step:04d}_fn"
                log.oops(function, step)
                functions.append(function)
            if step % 12 == 5 + number:
                log.rename()
            elif step % 12 == 9 + number % 3:
                at = time.monotonic()
                subprocess.run([*consumed.split(), str(sum(l.lines for l in logs))], check=True)
                waited += time.monotonic() - at
                log.copytruncate()
    print(
        json.dumps(
            {
                "bytes": sum(l.bytes for l in logs),
                "lines": sum(l.lines for l in logs),
                "rotations": sum(l.rotations for l in logs),
                "took_s": round(time.monotonic() - began, 2),
                "waited_s": round(waited, 2),
                "functions": functions,
            }
        )
    )


main()
