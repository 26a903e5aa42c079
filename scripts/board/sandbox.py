"""Part `sandbox`: what the unit shuts the agent off from, its memory limit, and a root that nobody can write."""

from __future__ import annotations

import re
from typing import Final

from board import STATE, UNIT, Board
from housing import HOUSE, bring
from qemu import make_disk

LIMIT_MIB: Final = 200
_TMP: Final = "/tmp"  # noqa: S108 - a mount point of the guest
_WRITABLE: Final = (STATE, "/run/sprat", _TMP, "/var/tmp", "/dev/shm", "/run/lock")  # noqa: S108
"""Its state, its socket's folder, a /tmp of its own, and what Debian opens to every user."""
_FOLDERS: Final = (*_WRITABLE, "/", "/etc", "/opt/sprat", "/usr", "/var", "/var/lib", "/var/log", "/run", "/home", "/root", "/boot", "/srv", "/dev", "/proc/sys", "/sys")  # fmt: skip
_HOG: Final = f"""\
echo $$ >/sys/fs/cgroup/system.slice/{UNIT}.service/cgroup.procs
exec python3 -c 'held = []
while True: held.append(bytearray(b"x" * (4 << 20)))'
"""


def run(board: Board) -> None:
    """Ask systemd, then try."""
    said = board.guest.must(f"systemd-analyze security {UNIT} --no-pager | tail -1")
    figure = float((re.search(r"(\d+\.\d+)", said) or ["", "99"])[1])
    board.show("systemd-analyze security", figure, expected="<= 1.6", ok=figure <= 1.6)
    _walls(board)
    _memory(board)


def _walls(board: Board) -> None:
    """Look at the agent's own root, by its mounts and by its limits."""
    guest = board.guest
    inside = (
        f"nsenter -t $(systemctl show {UNIT} --value -p MainPID) -m setpriv --reuid=sprat --regid=sprat --clear-groups"
    )
    script = f"for p in {' '.join(_FOLDERS)}; do if touch $p/.try 2>/dev/null; then rm $p/.try; echo $p; fi; done"
    found = " ".join(guest.must(f"{inside} sh -c '{script}'").split())
    board.show("folders that its user may write, inside its sandbox", found, expected=" ".join(_WRITABLE))
    capabilities = guest.must(f"sed -n 's/^CapBnd:[[:space:]]*//p' /proc/$(systemctl show {UNIT} --value -p MainPID)/status")  # fmt: skip
    board.show("its capabilities", capabilities.lstrip("0") or "none", expected="none")


def _memory(board: Board) -> None:
    """Set up once more with a limit, and let a program of the unit's own cgroup go beyond it."""
    guest = board.guest
    bring(board, board.world.house, HOUSE)
    guest.must(f"sprat-device board setup --wheelhouse {HOUSE} --memory-max-mib {LIMIT_MIB} --start-s 300", timeout_s=900)  # fmt: skip
    limits = [int(board.fact(name)) >> 20 for name in ("MemoryHigh", "MemoryMax")]
    board.show("MemoryHigh, MemoryMax in MiB", limits, expected=[int(LIMIT_MIB * 0.9), LIMIT_MIB])
    board.world.await_more(board.name, 40)
    used = int(board.fact("MemoryCurrent")) / 2**20
    board.show("memory of the agent's unit", f"{used:.0f} MiB", expected=f"< {LIMIT_MIB} MiB", ok=used < LIMIT_MIB)
    pid, restarts = board.fact("MainPID"), board.fact("NRestarts")
    told = guest.run("sh; echo exit $?", given=_HOG.encode(), timeout_s=300).stdout.strip()
    board.show("a hog in the unit ends by", told, expected="exit 137")
    same = (board.fact("MainPID"), board.fact("NRestarts")) == (pid, restarts)
    board.world.await_more(board.name, 40)
    board.show("the agent meanwhile", "same process, predicts" if same else "was restarted", expected="same process, predicts")  # fmt: skip


def read_only_root(board: Board) -> None:
    """Put the state on a disk of its own and boot with a root that cannot be written, and a /tmp in memory.

    That /tmp is for systemd: until 252 it makes a unit's private /dev there, and starts none where it cannot.
    """
    guest = board.guest
    guest.must(
        "mkfs.ext4 -q -L state /dev/vdb && mount /dev/vdb /mnt && "
        f"systemctl stop {UNIT} && cp -a {STATE}/. /mnt/ && chown sprat:sprat /mnt && chmod 700 /mnt && umount /mnt && "
        "printf '%s\\n' '/dev/vda / ext4 ro 0 1' "
        f"'/dev/vdb {STATE} ext4 defaults 0 2' 'tmpfs /var/log tmpfs defaults 0 0' 'tmpfs /tmp tmpfs defaults 0 0' >/etc/fstab"
    )
    guest.shut_down()
    guest.boot(append="ro")
    board.ready()
    options = {path: guest.must(f"findmnt -n -o OPTIONS {path}").split(",")[0] for path in ("/", _TMP, STATE)}
    board.show("booted with", " ".join(f"{path}:{how}" for path, how in options.items()), expected=f"/:ro /tmp:rw {STATE}:rw")  # fmt: skip
    board.world.await_more(board.name, 40)
    failed = guest.must(f"journalctl -u {UNIT} -b --no-pager -o cat -p warning | grep -ciE 'read-only|denied' || true")
    board.show("it predicts on a read-only root; complaints in its log", failed, expected="0")
    board.show_ledgers("on a read-only root")
    guest.must("mount -o remount,rw / && sed -i -e '/tmpfs/d' -e 's/ext4 ro/ext4 defaults/' /etc/fstab")
    guest.shut_down()
    guest.boot()
    board.ready()


def second_disk(board: Board) -> None:
    """Give the machine the disk before its first boot."""
    disk = board.guest.work / "state.qcow2"
    make_disk(disk, size="1G")
    board.guest.more_disks.append(disk)
