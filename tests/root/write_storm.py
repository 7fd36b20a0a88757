"""Writes a storm for 35-storm.sh: LINES_PER_S ordinary lines a second for SECONDS, paced, to a file or device.

    write_storm.py PATH LINES_PER_S SECONDS [REPORT [SIGNAL]]

A file gets all lines of 10 ms in one write; /dev/kmsg takes one record a write. REPORT is a file whose text goes in
whole, in the middle of the storm (for a console log). SIGNAL is a file that is made in the middle, for somebody who
waits for it. Prints one JSON line: lines, seconds, the rate that was reached, when the middle was (ms since the epoch).
"""

import json
import os
import sys
import time

STEP_S = 0.01


def main():
    path, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    report = open(sys.argv[4], "rb").read() if len(sys.argv) > 4 and sys.argv[4] else b""
    signal = sys.argv[5] if len(sys.argv) > 5 else None
    device = path == "/dev/kmsg"
    out = os.open(path, os.O_WRONLY if device else os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    per_step = int(rate * STEP_S)
    steps = int(seconds / STEP_S)
    lines = middle = 0
    begun = time.monotonic()
    for step in range(steps):
        if step == steps // 2:
            middle = int(time.time() * 1000)
            os.write(out, report) if report else None
            lines += report.count(b"\n")
            if signal:
                open(signal, "w").close()
        if device:
            for n in range(lines, lines + per_step):
                os.write(out, b"<14>storm: line %d of a program that has lost its mind" % n)
        else:
            numbered = (
                b"[%5d.%06d] storm 0000:00:1f.2: line %d of a driver that has lost its mind, status 0x%08x\n"
                % (n // 1000000, n % 1000000, n, n * 7)
                for n in range(lines, lines + per_step)
            )
            os.write(out, b"".join(numbered))
        lines += per_step
        ahead = begun + (step + 1) * STEP_S - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
    took = time.monotonic() - begun
    print(json.dumps({"lines": lines, "seconds": round(took, 3), "rate": int(lines / took), "middle_ms": middle}))


if __name__ == "__main__":
    main()
