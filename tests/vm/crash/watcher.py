"""The lastgasp of this host, following one console log; and what is in a store."""

import json
import socket
import subprocess
import time
from pathlib import Path


class Store:
    """Snapshots and history of a watch, read with the program's own commands."""

    def __init__(self, program, directory):
        self.program = program
        self.dir = Path(directory)

    def history(self):
        file = self.dir / "history.jsonl"
        if not file.exists():
            return []
        rows = []
        for line in file.read_text(errors="replace").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                pass  # torn by a crash: the next start repairs it
        return rows

    def of(self, what):
        return [row for row in self.history() if row["what"] == what]

    def snapshots(self):
        """What `show` says of every snapshot, oldest first."""
        shown = []
        for file in sorted(self.dir.glob("*.tar.zst")):
            done = self.lastgasp("show", str(file), "--format", "json")
            if done.returncode == 0:
                shown.append(json.loads(done.stdout))
        return sorted(shown, key=lambda s: s["incident"]["opened_at"])

    def entry(self, snapshot, name):
        done = self.lastgasp("show", snapshot["path"], name)
        return done.stdout.decode(errors="replace") if done.returncode == 0 else ""

    def verify(self):
        return self.lastgasp("verify", "--all").returncode == 0

    def lastgasp(self, *args):
        return subprocess.run([self.program, "--store", str(self.dir), *args], capture_output=True)


def netconsole(port, name):
    return f"""
[netconsole]
listen = "127.0.0.1:{port}"
[[netconsole.host]]
address = "127.0.0.1"
name = "{name}"
"""


def free_port():
    """A UDP port that nobody has at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Watcher:
    """`lastgasp watch` on one console file, or on netconsole's datagrams from this machine; its store is `store`."""

    def __init__(self, program, directory, console, port=None):
        self.dir = Path(directory)
        self.store = Store(program, self.dir / "store")
        (self.dir / "host.toml").write_text(
            f"""
[general]
control = "{self.dir}/host.sock"
[store]
dirs = ["{self.dir}/store"]
min_free = "1MiB"
[kmsg]
enabled = false
"""
            + (f'[[console]]\npath = "{console}"\n' if port is None else netconsole(port, Path(console).stem))
        )
        self.log = open(self.dir / "host.log", "wb")
        self.process = subprocess.Popen(
            [program, "--config", str(self.dir / "host.toml"), "watch"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        if not self.within(20, lambda: self.store.of("started")):
            raise RuntimeError(f"the host's watch did not start: {self.dir}/host.log")

    def within(self, seconds, condition):
        """Polls: what other processes write has no event to wait on."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until or self.process.poll() is not None:
                return False
            time.sleep(0.1)
        return True

    def settled(self):
        """Every incident so far has its snapshot, or was given up."""
        return len(self.store.of("incident")) <= len(self.store.of("captured")) + len(self.store.of("lost"))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
