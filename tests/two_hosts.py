"""Two hosts on this machine, as network namespaces, and a link between them that loses packets when it is told to.

Each host has a TUN device. This process reads every packet that one host sends and writes it to the other, or loses it: in
silence, as a network does, where an interface that is shut down would tell its host. No module of the kernel for faulty
networks (netem) is needed. Needs Linux, root, /dev/net/tun, util-linux and iproute2.
"""

import ctypes
import fcntl
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TUN = Path("/dev/net/tun")
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_BYTES = 65_536
"""Of the longest packet."""


def obstacle() -> str | None:
    """Return why there can be no two hosts here; None if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    if not TUN.exists():
        return f"{TUN} is missing"
    lacking = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    return f"no network namespaces: {tried.stderr.strip()}" if tried.returncode else None


class TwoHosts:
    """Hosts 0 and 1. The link is up and loses nothing until `is_up` and `loss` say otherwise."""

    addresses = ("10.77.0.1", "10.77.0.2")

    def __init__(self) -> None:
        self.is_up = True
        self.loss = 0.0
        """Share of the packets that are lost."""
        self.passed = self.lost = 0
        """Packets so far."""
        self.devices = tuple(f"host{os.getpid()}{letter}" for letter in "ab")
        """Name of each host's device."""
        self._holders = [_namespace() for _ in range(2)]
        self._files = [_tun(device) for device in self.devices]
        for host, holder in enumerate(self._holders):
            # The device stays tied to its file, also in another namespace.
            _run("ip", "link", "set", self.devices[host], "netns", str(holder.pid))
            peer = self.addresses[1 - host]
            for words in (
                ("link", "set", "lo", "up"),
                ("address", "add", self.addresses[host], "peer", peer, "dev", self.devices[host]),
                ("link", "set", self.devices[host], "up"),
            ):
                _run(*self.inside(host), "ip", *words)
        self._draws = random.Random(3)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    def inside(self, host: int) -> list[str]:
        """Return the beginning of a command line that runs on a host."""
        return ["nsenter", f"--net={self.namespace(host)}"]

    def namespace(self, host: int) -> str:
        """Return the file of a host's network, for `enter`."""
        return f"/proc/{self._holders[host].pid}/ns/net"

    def set_links(self, state: str) -> None:
        """Set the devices of both hosts `down`, of which their systems know, or `up` again."""
        for host, device in enumerate(self.devices):
            _run(*self.inside(host), "ip", "link", "set", device, state)

    def processes(self) -> list[int]:
        """Return the ids of the processes that run on the two hosts."""
        spaces = [_space(holder.pid) for holder in self._holders]
        holders = [holder.pid for holder in self._holders]
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        return [pid for pid in pids if pid not in holders and _space(pid) in spaces]

    def close(self) -> None:
        """Remove both hosts."""
        self._closed.set()
        self._thread.join()
        for file in self._files:
            os.close(file)
        for holder in self._holders:
            holder.communicate()

    def _forward(self) -> None:
        others = dict(zip(self._files, reversed(self._files), strict=True))
        while not self._closed.is_set():
            ready, _, _ = select.select(self._files, [], [], 0.2)
            for file in ready:
                try:
                    packet = os.read(file, _BYTES)
                except OSError:  # the device is down
                    time.sleep(0.05)
                    continue
                if self.is_up and self._draws.random() >= self.loss:
                    self.passed += 1
                    with suppress(OSError):  # a full queue loses packets too
                        os.write(others[file], packet)
                else:
                    self.lost += 1


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Have two hosts in the block."""
    hosts = TwoHosts()
    try:
        yield hosts
    finally:
        hosts.close()


def enter(namespace: str) -> None:
    """Move this process, which has one thread as yet, to a host."""
    descriptor = os.open(namespace, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns to {namespace}")
    os.close(descriptor)


def _namespace() -> subprocess.Popen[bytes]:
    """Return a process that has a network of its own; it ends with this one, whose pipe it reads."""
    holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
    while _space(holder.pid) in (None, _space(os.getpid())):
        assert holder.poll() is None, "unshare has failed"
        time.sleep(0.01)
    return holder


def _space(pid: int) -> Path | None:
    """Return the network namespace of a process; None if it has ended."""
    try:
        return Path(f"/proc/{pid}/ns/net").readlink()
    except OSError:
        return None


def _tun(name: str) -> int:
    """Create a TUN device, and return the file through which its packets go."""
    file = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return file


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
