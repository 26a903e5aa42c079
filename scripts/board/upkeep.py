"""Part `upkeep`: an upgrade that fails goes back, one that is well stays; replace; remove leaves nothing."""

from __future__ import annotations

from typing import Final

from board import STATE, UNIT, Board
from housing import other
from tests.houses import in_run, unchanged

_PLACES: Final = "/etc /opt /usr /var/lib /var/spool /root /home /srv /run/systemd/system"


def list_files(board: Board) -> frozenset[str]:
    """Return every path where set-up could have left something."""
    told = board.guest.must(f"find {_PLACES} -xdev ! -path '/root/house*' ! -path '*/__pycache__*' 2>/dev/null || true")
    return frozenset(told.splitlines())


def run(board: Board, before_setup: frozenset[str]) -> None:
    """Upgrade twice, replace, remove."""
    _broken(board)
    _good(board)
    _replace(board)
    _remove(board, before_setup)


def _broken(board: Board) -> None:
    guest = board.guest
    current = guest.must("readlink /opt/sprat/current")
    other(board, "0.0.9", in_run("raise SystemExit(3)"), "/root/house-broken")
    done = guest.run("sprat-device board upgrade --wheelhouse /root/house-broken --start-s 20", timeout_s=900)
    said = (done.stderr.strip().splitlines() or [""])[-1].removeprefix("sprat-device: ")
    board.show("upgrade to an agent that ends at once", f"exit {done.returncode}, {said.split(': ')[0]}", expected="exit 1, not-well")  # fmt: skip
    board.ready()
    kept = guest.must("readlink /opt/sprat/current") == current
    left = guest.must("ls /opt/sprat/envs | grep -c '^0.0.9' || true")
    trial = guest.run("ls /run/systemd/system/sprat-device.service.d").returncode == 0
    found = (
        f"{'old' if kept else 'new'} environment runs, {left} of the new left, {'a' if trial else 'no'} trial drop-in"
    )
    board.show("after it", found, expected="old environment runs, 0 of the new left, no trial drop-in")
    board.world.await_more(board.name, 40)


def _good(board: Board) -> None:
    other(board, "9.9.9", unchanged, "/root/house-good")
    done = board.guest.run("sprat-device board upgrade --wheelhouse /root/house-good --start-s 300", timeout_s=900)
    if done.returncode:
        board.table.tell(done.stderr + board.journal())
    board.ready()
    told = board.status()["report"]["agent"]
    board.show("upgrade to an agent that is well", f"exit {done.returncode}, {told}", expected="exit 0, 9.9.9")
    board.world.await_more(board.name, 40)
    board.show_ledgers("after both upgrades")


def _replace(board: Board) -> None:
    guest = board.guest
    before = guest.must(f"sha256sum {STATE}/identity/device.key")
    told = board.world.shell.sprat("enrol", "replace", board.name)
    done = guest.run(
        f"sprat-device board replace --hub {told['hub']} --token - --device {board.name} --start-s 300",
        given=told["token"].encode(), timeout_s=900,
    )  # fmt: skip
    if done.returncode:
        board.table.tell(done.stderr + board.journal())
    changed = guest.must(f"sha256sum {STATE}/identity/device.key") != before
    found = f"exit {done.returncode}, {'another' if changed else 'the same'} key"
    board.show("replace under the same id", found, expected="exit 0, another key")
    board.ready()
    board.world.await_more(board.name, 40)
    board.show_ledgers("after the replacement")


def _remove(board: Board, before_setup: frozenset[str]) -> None:
    guest = board.guest
    guest.must("rm -rf /root/house-broken /root/house-good")
    done = guest.run("sprat-device board remove", timeout_s=300)
    more = sorted(list_files(board) - before_setup)
    left = [path for path in more if not path.startswith(_OTHERS)]
    if guest.run(f"mountpoint -q {STATE}").returncode == 0:  # the part `root` has put it on a disk, which stays
        left.remove(STATE)
    found = f"exit {done.returncode}, {len(left)} paths left {' '.join(left[:5])}".strip()
    board.show("remove", found, expected="exit 0, 0 paths left")
    user = guest.run("getent passwd sprat || getent group sprat").returncode
    board.show("user and group after it", "gone" if user else "left", expected="gone")
    unit = guest.must(f"systemctl show {UNIT} --value -p LoadState -p ActiveState | xargs")
    running = guest.must("pgrep -c -f '[s]prat_device' || true")  # not the shell that says so
    board.show("unit and processes after it", f"{unit}, {running}", expected="not-found inactive, 0")


_OTHERS: Final = ("/var/lib/systemd/", "/var/lib/private", "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-", "/root/.")  # fmt: skip
"""What other programs write at their own time: systemd's timers and clock, and the copies that userdel keeps."""
