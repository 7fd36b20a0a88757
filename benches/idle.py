"""The measuring part of idle.sh: idle.py MINUTES FLOOR"""

import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Alive(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_):
        pass


def read(path):
    with open(path) as file:
        return file.read()


def children(pid):
    return [int(p) for p in read(f"/proc/{pid}/task/{pid}/children").split()]


def role(pid):
    words = read(f"/proc/{pid}/cmdline").split("\0")
    return words[words.index("role") + 1] if "role" in words else "core"


def field(text, name):
    """In KiB."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name + ":")), None)


def look(pid):
    stat = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    # Nanoseconds, of the threads that there are; stat has ticks, of all that there were.
    exact = 0
    switches = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        exact += int(read(f"/proc/{pid}/task/{tid}/schedstat").split()[0])
        status = read(f"/proc/{pid}/task/{tid}/status")
        switches += sum(field(status, f"{kind}_ctxt_switches") for kind in ("voluntary", "nonvoluntary"))
    rollup = read(f"/proc/{pid}/smaps_rollup")
    return {
        "role": role(pid),
        "ticks": int(stat[11]) + int(stat[12]),
        "ns": exact,
        "switches": switches,
        "rss": field(rollup, "Rss"),
        "pss": field(rollup, "Pss"),
        "anon": field(rollup, "Pss_Anon"),
        "fds": len(os.listdir(f"/proc/{pid}/fd")),
    }


def status(config):
    got = subprocess.run([os.environ["LASTGASP"], "--config", config, "--format", "json", "status"], capture_output=True)
    return json.loads(got.stdout) if got.returncode == 0 else {}


def main():
    minutes = float(sys.argv[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Alive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="lastgasp-idle.") as directory:
        config = f"{directory}/lastgasp.toml"
        with open(config, "w") as file:
            file.write(
                f'[general]\ncontrol = "{directory}/control.sock"\n'
                f'[store]\ndirs = ["{directory}/store"]\n'
                f'[[console]]\npath = "{directory}/*.log"\n'
                f'[[probe]]\nname = "web"\ntarget = "http://127.0.0.1:{server.server_port}/"\ninterval = "1s"\n'
            )
        open(f"{directory}/console.log", "w").close()
        with open(f"{directory}/watch.err", "w") as log:
            watch = subprocess.Popen([os.environ["LASTGASP"], "--config", config, "watch"], stderr=log)
        try:
            until = time.monotonic() + 60
            while not status(config).get("spare_ready"):
                if time.monotonic() > until or watch.poll() is not None:
                    sys.exit(f"the watch did not get ready: {read(f'{directory}/watch.err')}")
                time.sleep(0.1)
            # The first seconds are start-up; the role that tidies the store ends by itself.
            time.sleep(10)
            pids = [watch.pid, *children(watch.pid)]
            # Beside it the least that one request a second can cost here: a wake-up is dearer on one machine than on another.
            floor = subprocess.Popen([sys.argv[2], str(server.server_port)])
            try:
                pids.append(floor.pid)
                before, began = {pid: look(pid) for pid in pids}, time.monotonic()
                time.sleep(minutes * 60)
                after, took = {pid: look(pid) for pid in pids}, time.monotonic() - began
            except (FileNotFoundError, ProcessLookupError):
                sys.exit("a process of the watch was replaced meanwhile (an incident, or a crash): not idle, try again")
            finally:
                floor.kill()
                floor.wait()
            new = set(children(watch.pid)) - set(pids)
            end = status(config)
        finally:
            watch.terminate()
            watch.wait(30)
    print(f"{took / 60:.1f} minutes, {len(pids) - 1} processes, {len(new)} started meanwhile, {end['snapshots']} snapshots")
    print(f"{'process':10} {'RSS KiB':>8} {'PSS KiB':>8} {'own KiB':>8} {'CPU ms/min':>11} {'(ticks)':>8} {'switches/s':>11} {'fds':>4}")
    total = dict.fromkeys(("rss", "pss", "anon", "ns", "ticks", "switches"), 0)
    for pid in pids:
        a, b = before[pid], after[pid]
        row = {k: b[k] for k in ("rss", "pss", "anon")} | {k: b[k] - a[k] for k in ("ns", "ticks", "switches")}
        if pid == floor.pid:
            least = row
            continue
        for key, value in row.items():
            total[key] += value
        show(b["role"], row, took, b["fds"])
        grown = b["rss"] - a["rss"]
        if grown > 0:
            print(f"{'':10} grew by {grown} KiB")
    show("all", total, took, "")
    show("floor", least, took, "")
    print(f"CPU against the floor, one HTTP request a second in C: {total['ns'] / least['ns']:.2f} x")


def show(name, row, took, fds):
    cpu, ticks = row["ns"] / 1e6 / took * 60, row["ticks"] * 1000 / TICKS / took * 60
    print(
        f"{name:10} {row['rss']:8} {row['pss']:8} {row['anon']:8} {cpu:11.1f} {ticks:8.0f} "
        f"{row['switches'] / took:11.2f} {fds:>4}"
    )


main()
