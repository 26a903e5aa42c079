"""The agent's systemd unit, as text: restarted always, watched, and sandboxed.

Rules: the agent writes nothing outside its state folder; it sees no device, home or kernel switch that the unit does
not name; what it may not do, it is refused and goes on (EPERM), never killed for it. What each line is for, and its
price, stands in docs/daemon.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sprat_device.contract.errors import WrongUse

UNIT_NAME: Final = "sprat-device.service"
WATCHDOG_S: Final = 60
_HIGH: Final = 0.9
"""From this share of the memory limit on the kernel slows the agent down and takes its caches back."""

_DEVICES: Final = ("/dev/", "char-", "block-")
"""What else stood there systemd would pass over, and the source would find its device closed."""

_SANDBOX: Final = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
PrivateTmp=yes
PrivateMounts=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
LockPersonality=yes
RemoveIPC=yes
UMask=0077
LimitCORE=0
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# Only to ask whether the clock is set; without CAP_SYS_TIME it cannot be changed.
SystemCallFilter=adjtimex clock_adjtime
# A shadow stands back behind the agent; without CAP_SYS_NICE nobody comes forward again.
SystemCallFilter=nice setpriority sched_setscheduler
SystemCallErrorNumber=EPERM
"""


def unit(
    *,
    python: Path,
    state: Path,
    user: str,
    memory_max_mib: int = 0,
    devices: Sequence[str] = (),
    groups: Sequence[str] = (),
    writable_code: str = "deny",
    watchdog_s: int = WATCHDOG_S,
    optimise: int = 2,
) -> str:
    """Return the unit that runs the agent with this Python, on this state folder, as this user.

    `memory_max_mib` limits the agent and its children together, 0 leaves them free. `devices` opens what sources need
    (`/dev/ttyUSB0`, `char-video4linux`), with the `groups` that own them. `writable_code` is `allow` for a runtime
    that makes code while it runs. `optimise` is Python's level: 2 needs its bytecode, which the set-up compiles.
    """
    for word in (*devices, *groups, user, str(state), str(python)):
        if not word or any(mark in word for mark in "\n\r\"'\\%$; "):
            raise WrongUse(
                f"systemd unit: {word!r} cannot stand in a unit; use a name or path without spaces and marks"
            )
    for device in devices:
        if not device.startswith(_DEVICES):
            raise WrongUse(f"systemd unit: found device {device!r}, expected /dev/NAME, char-NAME or block-NAME")
    for path in (python, state):
        if not path.is_absolute():
            raise WrongUse(f"systemd unit: found {str(path)!r}, expected a path that begins with /")
    if writable_code not in {"allow", "deny"}:
        raise WrongUse(f"systemd unit: writable_code {writable_code!r}, expected allow or deny")
    return "\n".join([
        "[Unit]",
        "Description=Sprat agent",
        # Order only: inference starts from the last good slot without network and clock.
        "After=network.target time-set.target",
        # It never gives up: a board in the field has nobody who would start it again.
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        *_process(python, state, user, optimise),
        *_care(watchdog_s, memory_max_mib),
        *_sandbox(python, state, writable_code),
        *_devices(devices, groups),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ])  # fmt: skip


def _process(python: Path, state: Path, user: str, optimise: int) -> list[str]:
    flags = "-" + "O" * optimise + " " if optimise else ""
    return [
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={python} {flags}-m sprat_device run --state {state}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        f"User={user}",
        f"WorkingDirectory={state}",
        # /run/sprat, where serve.listen may put its Unix socket.
        "RuntimeDirectory=sprat",
        # Scratch files of libraries go where the disk is, not into memory; nothing else is written.
        f"Environment=TMPDIR={state / 'tmp'} PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=1",
        "StandardInput=null",
    ]


def _care(watchdog_s: int, memory_max_mib: int) -> list[str]:
    lines = [
        "Restart=always",
        "RestartSec=2",
        # From version 254 on the wait grows; an older systemd says that it does not know these and waits 2 s.
        "RestartSteps=8",
        "RestartMaxDelaySec=300",
        "TimeoutStartSec=300",
        "TimeoutStopSec=15",
        "KillMode=mixed",
        # An updater that runs out of memory dies alone: inference goes on.
        "OOMPolicy=continue",
        "LogRateLimitIntervalSec=30",
        "LogRateLimitBurst=300",
    ]
    if watchdog_s:
        lines.append(f"WatchdogSec={watchdog_s}")
    if memory_max_mib:
        lines += [f"MemoryHigh={int(memory_max_mib * _HIGH)}M", f"MemoryMax={memory_max_mib}M"]
    return lines


def _sandbox(python: Path, state: Path, writable_code: str) -> list[str]:
    at_home = any(path.is_relative_to(home) for path in (python, state) for home in ("/home", "/root", "/run/user"))
    lines = [*_SANDBOX.splitlines(), f"ReadWritePaths={state}", f"ProtectHome={'read-only' if at_home else 'yes'}"]
    if writable_code == "deny":
        lines.append("MemoryDenyWriteExecute=yes")
    return lines


def _devices(devices: Sequence[str], groups: Sequence[str]) -> list[str]:
    if not devices:
        return ["PrivateDevices=yes", "PrivateUsers=yes", "DevicePolicy=closed"]
    # Camera programs ask udev for their devices, over netlink.
    lines = ["RestrictAddressFamilies=AF_NETLINK", "DevicePolicy=closed"]
    lines += [f"DeviceAllow={device} rw" for device in devices]
    return [*lines, f"SupplementaryGroups={' '.join(groups)}"] if groups else lines
