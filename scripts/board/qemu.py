"""Virtual machines: started, spoken to over ssh, and cut off from power by killing them.

A guest reaches nothing but the ports of this host's loopback that it is given (`restrict=on`). Every machine has a time
limit, and ends with the process that started it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from image import HUB_ADDRESS, Image

from sprat.errors import SpratError

_RELAY: Final = Path(__file__).with_name("relay.py")
_PR_SET_PDEATHSIG: Final = 1
_LIMIT_S: Final = 3600.0
_PROBE_S: Final = 30.0


class GuestFailed(SpratError):
    """The machine did not boot, or a command in it that must work did not."""

    exit_code = 1


@dataclass(slots=True)
class Guest:
    """A virtual machine with disks of its own; `ports` are the host's that it may reach, under the same numbers."""

    image: Image
    work: Path
    ports: Sequence[int]
    memory_mib: int = 512
    more_disks: list[Path] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    _ssh_port: int = 0
    _timer: threading.Timer | None = None
    boots: int = 0

    def boot(self, *, rtc: str = "utc", append: str = "rw", patience_s: float = 240) -> float:
        """Switch it on and return after how many seconds it can be spoken to."""
        self._ssh_port = _free_port()
        self.boots += 1
        forwards = [f"hostfwd=tcp:127.0.0.1:{self._ssh_port}-:22"]
        forwards += [
            f"guestfwd=tcp:{HUB_ADDRESS}:{port}-cmd:{sys.executable} -I -S {_RELAY} {port}" for port in self.ports
        ]
        disk = self.work / "disk.qcow2"
        if not disk.exists():
            make_disk(disk, backing=self.image.disk)
        arguments = _command(
            self.image, [disk, *self.more_disks], network=forwards, append=append, rtc=rtc, memory_mib=self.memory_mib,
            console=self.work / f"console-{self.boots}.log",
        )  # fmt: skip
        begun = time.monotonic()
        self.process, self._timer = _start(arguments, self.work / "qemu.log", _LIMIT_S)
        while True:
            if self.process.poll() is not None:
                raise GuestFailed(f"qemu ended with {self.process.returncode}: {self.work / 'qemu.log'}")
            if self.run("true", timeout_s=15).returncode == 0:
                return time.monotonic() - begun
            if time.monotonic() - begun > patience_s:
                raise GuestFailed(f"no login within {patience_s:.0f} s; see {self.work}/console-{self.boots}.log")
            time.sleep(0.3)

    def run(
        self, command: str, *, given: bytes | None = None, timeout_s: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root; exit code 255 is the way there, not the command."""
        try:
            done = subprocess.run(
                [*self._ssh(), command], input=given, capture_output=True, check=False, timeout=timeout_s,
                stdin=subprocess.DEVNULL if given is None else None,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess([command], 255, "", f"no end within {timeout_s:g} s")
        out, err = (part.decode("utf-8", "replace") for part in (done.stdout, done.stderr))
        return subprocess.CompletedProcess([command], done.returncode, out, err)

    def must(self, command: str, *, given: bytes | None = None, timeout_s: float = 300) -> str:
        """Run a command that has to work and return what it said."""
        done = self.run(command, given=given, timeout_s=timeout_s)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()[-400:]
            raise GuestFailed(f"{command[:100]} … ended with {done.returncode}: {said}")
        return done.stdout.strip()

    def copy(self, folder: Path, to: str) -> None:
        """Copy a folder there, under the name `to`."""
        packed = subprocess.run(["tar", "-C", str(folder), "-cf", "-", "."], capture_output=True, check=True).stdout
        self.must(f"mkdir -p {to} && tar -C {to} -xf - --no-same-owner", given=packed)

    def cut_power(self) -> None:
        """Take the power away: nothing that the machine still held in memory is written."""
        if self._timer is not None:
            self._timer.cancel()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def shut_down(self) -> None:
        """Switch off as people do."""
        self.run("systemctl poweroff", timeout_s=30)
        if self.process is not None:
            try:
                self.process.wait(90)
            except subprocess.TimeoutExpired:
                print("   the machine did not switch itself off within 90 s", file=sys.stderr)
        self.cut_power()

    def _ssh(self) -> list[str]:
        options = {
            "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR", "BatchMode": "yes",
            "ConnectTimeout": "5", "IdentitiesOnly": "yes", "ServerAliveInterval": "5", "ServerAliveCountMax": "6",
        }  # fmt: skip
        said = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", "-i", str(self.image.key), *said, "-p", str(self._ssh_port), "root@127.0.0.1"]


def make_disk(path: Path, *, backing: Path | None = None, size: str = "") -> None:
    """Make a disk that keeps what differs from another, or an empty one."""
    over = ["-b", str(backing), "-F", "raw"] if backing else []
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *over, str(path), *([size] if size else [])], check=True)


@cache
def accelerated(image: Image) -> bool:
    """Tell whether this host's processor runs this kernel: not every /dev/kvm of a host that is a guest itself does."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = _machine(image, kvm=True, memory_mib=256, append="probe", console=image.folder / "probe.log")
    process, timer = _start([*command, "-no-reboot"], image.folder / "probe.qemu", _PROBE_S)
    try:
        return process.wait() == 0
    finally:
        timer.cancel()


def _command(
    image: Image,
    disks: Sequence[Path],
    *,
    network: Sequence[str],
    append: str,
    rtc: str,
    memory_mib: int,
    console: Path,
) -> list[str]:
    drives = []
    for disk in disks:
        kind = "qcow2" if disk.suffix == ".qcow2" else "raw"
        drives += ["-drive", f"file={disk},format={kind},if=virtio,cache=writeback,discard=unmap"]
    netdev = ",".join(["user", "id=net", "restrict=on", *network])
    return [
        *_machine(image, kvm=accelerated(image), memory_mib=memory_mib, append=append, console=console),
        "-rtc", f"base={rtc}", "-object", "rng-random,id=rng,filename=/dev/urandom",
        "-device", "virtio-rng-pci,rng=rng", "-netdev", netdev, "-device", "virtio-net-pci,netdev=net", *drives,
    ]  # fmt: skip


def _machine(image: Image, *, kvm: bool, memory_mib: int, append: str, console: Path) -> list[str]:
    by = ["-accel", "kvm", "-cpu", "host"] if kvm else ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max"]
    return [
        "qemu-system-x86_64", "-machine", "q35", *by, "-smp", "2", "-m", str(memory_mib), "-display", "none",
        "-monitor", "none", "-nodefaults", "-no-user-config", "-serial", f"file:{console}",
        "-kernel", str(image.kernel), "-initrd", str(image.initramfs),
        "-append", f"root=/dev/vda console=ttyS0 quiet loglevel=4 systemd.show_status=0 panic=-1 {append}",
    ]  # fmt: skip


def _start(command: Sequence[str], log: Path, limit_s: float) -> tuple[subprocess.Popen[bytes], threading.Timer]:
    libc: Any = ctypes.CDLL(None)

    def die_with_us() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    with log.open("ab") as sink:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            preexec_fn=die_with_us,  # noqa: PLW1509
        )
    timer = threading.Timer(limit_s, process.kill)
    timer.daemon = True
    timer.start()
    return process, timer


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
