"""Health on made-up boards: /proc and /sys as trees of files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sprat_device.board.health import Health, facts, versions


class Board:
    """A tree that a test fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "proc").mkdir()
        (folder / "sys").mkdir()

    def file(self, path: str, text: str) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text + "\n", encoding="ascii")

    def machine(self, *, user: int, idle: int, own: int = 0) -> None:
        self.file("proc/stat", f"cpu  {user} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1")
        self.file("proc/self/stat", f"7 (a b) c) S 1 7 7 0 -1 0 0 0 0 0 {own} 0 0 0 20 0 5 0")
        self.file("proc/loadavg", "0.50 0.25 0.10 1/100 42")
        self.file("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable:  512 kB\nSwapTotal: 100 kB\nSwapFree: 60 kB")
        self.file("proc/self/status", "Name: x\nVmRSS:\t 40 kB\nVmSwap: 3 kB\nThreads:\t5")
        self.file("proc/self/smaps_rollup", "00-ff ---p 0 00:00 0 [rollup]\nRss: 40 kB\nPss:  25 kB")
        self.file("proc/uptime", "12.5 99")

    def health(self) -> Health:
        return Health(self.folder, proc=self.folder / "proc", sys=self.folder / "sys")

    def sample(self) -> dict[str, Any]:
        return self.health().sample()


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def test_processor_shares_are_of_the_time_between_two_samples(board: Board) -> None:
    board.machine(user=100, idle=100, own=10)
    health = board.health()
    board.machine(user=130, idle=110, own=14)
    found = health.sample()
    assert (found["cpu"], found["agent_cpu"]) == (0.75, 0.1)


def test_memory_load_and_process_are_told(board: Board) -> None:
    board.machine(user=1, idle=1)
    found = board.sample()
    wanted = {
        "load_1": 0.5, "load_5": 0.25, "ram_free_kib": 512, "ram_total_kib": 1000, "swap_total_kib": 100,
        "swap_used_kib": 40, "rss_kib": 40, "pss_kib": 25, "swapped_kib": 3, "threads": 5, "uptime_s": 12.5,
    }  # fmt: skip
    assert {name: found.get(name) for name in wanted} == wanted


def test_compressed_swap_tells_what_it_holds_and_takes(board: Board) -> None:
    board.file("sys/block/zram0/mm_stat", "8192000 2000000 2048000 0 2048000 0 0 0 0")
    found = board.sample()
    assert (found["zram_held_kib"], found["zram_taken_kib"]) == (8000, 2000)


def test_the_disk_of_the_state_folder_tells_its_room_and_what_was_written(board: Board) -> None:
    device = board.folder.stat().st_dev
    board.file(f"sys/dev/block/{os.major(device)}:{os.minor(device)}/stat", "1 0 8 0 5 0 4096 0 0 0 0")
    found = board.sample()
    assert found["disk_written_kib"] == 2048
    assert 0 < found["disk_free_kib"] <= found["disk_total_kib"]


def test_the_hottest_zone_and_the_processors_own_are_told_and_broken_sensors_left_out(board: Board) -> None:
    for i, (kind, value) in enumerate(
        [("gpu-thermal", "61000"), ("cpu-thermal", "48312"), ("pmic", "-274000"), ("x", "")]
    ):
        board.file(f"sys/class/thermal/thermal_zone{i}/type", kind)
        board.file(f"sys/class/thermal/thermal_zone{i}/temp", value)
    found = board.sample()
    assert (found["temperature_c"], found["soc_c"]) == (61.0, 48.312)


@pytest.mark.parametrize(
    ("bits", "now", "since"),
    [
        ("0", "", ""),
        ("50005", "undervoltage,throttled", "undervoltage,throttled"),
        ("a0000", "", "frequency-capped,temperature-limit"),
    ],
)
def test_the_firmwares_bits_are_told_by_name(board: Board, bits: str, now: str, since: str) -> None:
    board.file("sys/devices/platform/soc/soc:firmware/get_throttled", bits)
    found = board.sample()
    assert (found["throttled"], found["power_now"], found["power_since_boot"]) == (int(bits, 16), now, since)


def test_the_kernels_own_alarm_stands_in_for_the_firmware(board: Board) -> None:
    board.file("sys/class/hwmon/hwmon0/name", "cpu_thermal")
    board.file("sys/class/hwmon/hwmon1/name", "rpi_volt")
    board.file("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1")
    found = board.sample()
    assert found["power_now"] == "undervoltage"
    assert "throttled" not in found


def test_the_radio_is_told_where_it_says_a_level(board: Board) -> None:
    head = "Inter-| sta-|   Quality        |\n face | tus | link level noise |"
    board.file("proc/net/wireless", f"{head}\n wlan0: 0000   54.  -56.  -256        0      0")
    assert board.sample()["wifi_dbm"] == -56
    board.file("proc/net/wireless", f"{head}\n wlan0: 0000   54.  200.  0        0      0")
    assert "wifi_dbm" not in board.sample()


def test_an_empty_board_tells_only_its_disk(board: Board) -> None:
    assert board.sample().keys() == {"disk_free_kib", "disk_total_kib"}


def test_a_board_that_hides_its_folders_tells_only_its_disk(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.stat

    def forbidden(path: Path, **given: Any) -> os.stat_result:
        if board.folder / "sys" in path.parents:  # as a sandbox answers; a test as root sees through any permissions
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return plain(path, **given)

    monkeypatch.setattr(Path, "stat", forbidden)
    assert board.sample().keys() == {"disk_free_kib", "disk_total_kib"}


def test_files_full_of_nonsense_tell_nothing(board: Board) -> None:
    for path in (
        "stat",
        "loadavg",
        "meminfo",
        "uptime",
        "self/stat",
        "self/status",
        "self/smaps_rollup",
        "net/wireless",
    ):
        board.file(f"proc/{path}", "nonsense \x00 here\nand\nthere")
    board.file("sys/block/zram0/mm_stat", "x")
    board.file("sys/class/thermal/thermal_zone0/temp", "hot")
    board.file("sys/devices/platform/soc/soc:firmware/get_throttled", "zz")
    assert board.sample().keys() == {"disk_free_kib", "disk_total_kib"}


@pytest.mark.parametrize("number", ["nan", "inf", "1e400", "9" * 40])
def test_a_number_that_no_record_holds_is_left_out(board: Board, number: str) -> None:
    board.machine(user=1, idle=1)
    board.file("proc/loadavg", f"{number} 0.25 0.10 1/100 42")
    board.file("proc/self/status", f"VmRSS: {'9' * 40} kB\nThreads: 5")
    found = board.sample()
    assert {"load_1", "rss_kib"}.isdisjoint(found)
    assert (found["load_5"], found["threads"]) == (0.25, 5)


def test_a_count_of_idle_time_that_steps_back_gives_no_share_beyond_one(board: Board) -> None:
    board.machine(user=100, idle=100)
    health = board.health()
    board.machine(user=200, idle=90)
    assert health.sample()["cpu"] == 1.0
    board.file("proc/stat", "cpu  190 0 0 120 0 0 0 0 0 0")
    assert health.sample()["cpu"] == 0.0


def test_memory_is_told_where_swap_is_half_told(board: Board) -> None:
    board.file("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable:  512 kB\nSwapTotal: 100 kB")
    found = board.sample()
    assert (found["ram_free_kib"], found["ram_total_kib"]) == (512, 1000)
    assert "swap_total_kib" not in found


def test_the_twin_repeats_room_temperature_and_power_alone(board: Board) -> None:
    board.machine(user=1, idle=1)
    board.file("sys/class/thermal/thermal_zone0/type", "CPU-therm")
    board.file("sys/class/thermal/thermal_zone0/temp", "48312")
    board.file("sys/devices/platform/soc/soc:firmware/get_throttled", "50005")
    health = board.health()
    assert health.sample()["soc_c"] == 48.312
    assert health.standing().keys() == {"disk_free_kib", "temperature_c", "power_now", "power_since_boot"}


def test_this_machine_tells_the_least_that_linux_tells() -> None:
    assert {"ram_free_kib", "rss_kib", "load_1", "uptime_s"} <= Health(Path("/")).sample().keys()


def test_versions_are_told_as_far_as_they_are_known(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('ID=debian\nPRETTY_NAME="Debian GNU/Linux 12"\n', encoding="utf-8")
    assert versions(agent="0.1.0", os_release=release)["os"] == "Debian GNU/Linux 12"
    assert "os" not in versions(agent="0.1.0", os_release=tmp_path / "absent")


def test_facts_name_the_machine() -> None:
    found = facts(runtimes={"litert": "2.3.0"}, agent="0.1.0")
    assert found["runtimes"] == {"litert": "2.3.0"}
    assert found.keys() >= {"arch", "cores", "ram_kib", "runtimes", "python", "agent", "kernel"}
