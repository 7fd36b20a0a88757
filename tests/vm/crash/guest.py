"""One guest: QEMU, its two serial lines and its monitor.

The console (first serial port) goes through us into a file, so that the time of arrival of every byte is known; the
second port carries the guest's words (`guest: ready`, `guest: monitor CMD`, `guest: done`) and our answers.
"""

import json
import os
import selectors
import socket
import subprocess
import tarfile
import time
from pathlib import Path

STORE_BYTES = 256 << 20

GUEST_CONFIG = """
[store]
dirs = ["/store/snapshots"]
min_free = "1MiB"
"""


class Guest:
    """Boots once; `run` returns when QEMU has ended or the time is up."""

    def __init__(self, scenario, image, directory, console, port=None):
        self.scenario = scenario
        self.image = Path(image)
        self.dir = Path(directory)
        self.console = Path(console)
        self.port = port  # where the host listens for netconsole
        self.arrivals = []  # (offset behind the chunk, wall time)
        self.words = []  # (wall time, what the guest said)
        self.timed_out = False
        self.exit_code = None
        self.line = b""

    def prepare(self):
        """Disks and sockets."""
        payload = self.dir / "payload"
        payload.mkdir()
        (payload / "scenario").write_text(self.scenario.get("guest", "") + "\n")
        (payload / "settings").write_text(f'MODULES="{" ".join(self.scenario.get("modules", []))}"\n')
        (payload / "guest.toml").write_text(GUEST_CONFIG + self.scenario.get("config", ""))
        if "before" in self.scenario:
            before = self.scenario["before"].replace("{port}", str(self.port))
            (payload / "before").write_text(before + "\n")
        with tarfile.open(self.dir / "payload.tar", "w") as tar:
            for file in sorted(payload.iterdir()):
                tar.add(file, arcname=file.name)
        self.make_disk("store.img", STORE_BYTES)
        for name in self.scenario.get("disks", []):
            self.make_disk(name, 64 << 20)

    def make_disk(self, name, size):
        """An ext4 file system in a sparse file; `blank…` stays empty."""
        path = self.dir / name
        with open(path, "wb") as f:
            f.truncate(size)
        if not name.startswith("blank"):
            subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(path)], check=True)

    def command(self):
        s = self.scenario
        at = str(self.dir) + "/"
        append = f"console=ttyS0,115200 no_timer_check panic=1 {s.get('append', '')}"
        args = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", s.get("cpu", "max"), "-smp", str(s.get("cpus", 2))]
        args += ["-machine", s.get("machine", "pc"), "-m", str(s.get("memory", 640))]
        args += ["-nodefaults", "-no-user-config", "-display", "none"]
        if not s.get("reboots"):
            args += ["-no-reboot"]
        args += ["-kernel", str(self.image / "vmlinuz"), "-append", append]
        if not s.get("bare"):
            args += ["-initrd", str(self.image / "initramfs")]
            args += ["-drive", f"file={at}store.img,if=virtio,format=raw,cache=unsafe"]
            args += ["-drive", f"file={at}payload.tar,if=virtio,format=raw,readonly=on"]
        for name in ("console", "control"):
            args += ["-chardev", f"socket,id={name},path={at}{name}.sock", "-serial", f"chardev:{name}"]
        args += ["-chardev", f"socket,id=monitor,path={at}monitor.sock", "-mon", "chardev=monitor,mode=control"]
        return args + [word.replace("{dir}", at) for word in s.get("qemu", [])]

    def run(self):
        limit = self.scenario.get("timeout", 240)
        listeners = {}
        for name in ("console", "control", "monitor"):
            path = self.dir / f"{name}.sock"
            path.unlink(missing_ok=True)
            listeners[name] = socket.socket(socket.AF_UNIX)
            listeners[name].bind(str(path))
            listeners[name].listen(1)
        log = open(self.dir / "qemu.log", "ab")
        started = time.monotonic()
        qemu = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.serve(qemu, listeners, started + limit)
        finally:
            if qemu.poll() is None:
                qemu.kill()
            self.exit_code = qemu.wait()
            for s in listeners.values():
                s.close()
            log.close()
        self.seconds = time.monotonic() - started

    def serve(self, qemu, listeners, deadline):
        ends = {}
        for name, listener in listeners.items():
            listener.settimeout(20)
            ends[name] = listener.accept()[0]
            ends[name].setblocking(False)
        self.control = ends["control"]
        self.monitor = ends["monitor"]
        self.monitor_send({"execute": "qmp_capabilities"})
        out = os.open(self.console, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        written = os.fstat(out).st_size
        selector = selectors.DefaultSelector()
        for name, s in ends.items():
            selector.register(s, selectors.EVENT_READ, name)
        open_ends = len(ends)
        while open_ends and time.monotonic() < deadline:
            for key, _ in selector.select(timeout=1.0):
                try:
                    data = key.fileobj.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    selector.unregister(key.fileobj)
                    open_ends -= 1
                elif key.data == "console":
                    os.write(out, data)
                    written += len(data)
                    self.arrivals.append((written, time.time()))
                elif key.data == "control":
                    self.hear(data)
            if qemu.poll() is not None and open_ends and not selector.get_map():
                break
        self.timed_out = time.monotonic() >= deadline
        os.close(out)
        for s in ends.values():
            s.close()

    def hear(self, data):
        self.line += data
        while b"\n" in self.line:
            word, self.line = self.line.split(b"\n", 1)
            word = word.decode(errors="replace").strip()
            self.words.append((time.time(), word))
            if word.startswith("guest: monitor "):
                self.monitor_send(
                    {
                        "execute": "human-monitor-command",
                        "arguments": {"command-line": word.removeprefix("guest: monitor ")},
                    }
                )
                self.control.send(b"ok\n")

    def monitor_send(self, order):
        self.monitor.send(json.dumps(order).encode() + b"\n")

    def said(self, word):
        return any(w.startswith(f"guest: {word}") for _, w in self.words)

    def arrival_of(self, offset):
        """When the byte at this place of the console came, in seconds since the epoch."""
        return next((at for end, at in self.arrivals if end > offset), None)

    def files(self):
        """What the guest left on its store, copied into a directory of ours."""
        target = self.dir / "left"
        target.mkdir(exist_ok=True)
        image = str(self.dir / "store.img")
        # A guest that died left a journal to replay.
        subprocess.run(["e2fsck", "-fy", image], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(
            ["debugfs", "-R", f"rdump / {target}", image], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return target
