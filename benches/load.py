"""A busy machine to take snapshots of: idle processes with descriptors, and established TCP connections.

    load.py [PROCESSES [CONNECTIONS [THREADS]]]        default: 2000 5000 0

Each process is an exec'd sleep(1) with an argv of its own and about ten descriptors: files, pipes, a unix
and a UDP socket. The connections are TCP on loopback, so each is two sockets; ten processes hold them. The
threads sleep in one process more.
Prints `ready …` on standard output and holds everything until standard input ends or SIGTERM comes.
"""

import os
import resource
import signal
import socket
import sys
import threading

HOLDERS = 10
# Processes that share one set of descriptors, as workers of one service do.
FAMILY = 50


def descriptors():
    """Seven that can be inherited; with the three standard ones, ten."""
    read, write = os.pipe()
    left, right = socket.socketpair()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    fds = [read, write, left.detach(), right.detach(), udp.detach(), os.open("/proc/self/maps", os.O_RDONLY)]
    fds.append(os.open("/etc/passwd", os.O_RDONLY))
    for fd in fds:
        os.set_inheritable(fd, True)
    return fds


def sleepers(count):
    null = os.open("/dev/null", os.O_RDWR)
    standard = [(os.POSIX_SPAWN_DUP2, null, n) for n in (0, 1, 2)]
    pids = []
    fds = []
    for n in range(count):
        if n % FAMILY == 0:
            for fd in fds:
                os.close(fd)
            fds = descriptors()
        argv = [f"worker-{n:04d}", f"{1000000 + n}"]
        pids.append(os.posix_spawn("/bin/sleep", argv, os.environ, file_actions=standard))
    for fd in fds:
        os.close(fd)
    return pids


def holder(count, ready):
    """A child that holds `count` connections to itself."""
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * count + 100), hard))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    held = []
    for _ in range(count):
        out = socket.create_connection(listener.getsockname())
        held += [out, listener.accept()[0]]
    os.write(ready, b"x")
    signal.pause()
    os._exit(0)


def crowd(count, ready):
    """A child of `count` threads that wait for ever."""
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.stack_size(64 * 1024)
    never = threading.Lock()
    never.acquire()
    for _ in range(count - 1):
        threading.Thread(target=never.acquire, daemon=True).start()
    os.write(ready, b"x")
    signal.pause()
    os._exit(0)


def main():
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    connections = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    # SIGTERM becomes an exception, so that the children are ended on every way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    pids = []
    try:
        heard, ready = os.pipe()
        os.set_inheritable(ready, False)
        each = [connections // HOLDERS + (n < connections % HOLDERS) for n in range(HOLDERS)]
        pids += [holder(n, ready) for n in each if n]
        pids += [crowd(threads, ready)] if threads else []
        os.close(ready)
        done, expected = 0, len(pids)
        while done < expected:
            got = os.read(heard, 16)
            if not got:
                sys.exit("a child died; is the limit of open files or of tasks too low?")
            done += len(got)
        pids += sleepers(processes)
        print(f"ready {processes} processes, {connections} connections, {threads} threads", flush=True)
        while os.read(0, 4096):
            pass
    finally:
        # A second word to end does not keep the first from being followed.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


main()
