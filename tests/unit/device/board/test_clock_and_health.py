from __future__ import annotations

from pathlib import Path

from sprat_device.board.clock import SystemClock
from sprat_device.board.health import Health, facts
from sprat_device.contract.phases import ClockState


def test_the_boot_id_is_the_kernels_or_random(tmp_path: Path) -> None:
    known = tmp_path / "boot_id"
    known.write_text("00112233-4455-6677-8899-aabbccddeeff\n", encoding="ascii")
    assert SystemClock(boot_id_file=known).boot_id.hex() == "00112233445566778899aabbccddeeff"
    known.write_text("no uuid", encoding="ascii")
    first, second = (SystemClock(boot_id_file=path).boot_id for path in (known, tmp_path / "absent"))
    assert len(first) == len(second) == 16
    assert first != second


def test_the_monotonic_clock_never_goes_back_and_the_state_can_be_fixed() -> None:
    clock = SystemClock()
    times = [clock.monotonic_us() for _ in range(100)]
    assert times == sorted(times)
    assert clock.state() in ClockState
    for state in ClockState:
        assert SystemClock(state).state() is state


def _machine(folder: Path, *, user: int, idle: int) -> None:
    (folder / "self").mkdir(exist_ok=True)
    (folder / "stat").write_text(f"cpu  {user} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1\n", encoding="ascii")
    (folder / "meminfo").write_text("MemTotal: 10 kB\nMemAvailable:  512 kB\n", encoding="ascii")
    (folder / "self/status").write_text("Name: x\nVmRSS:\t 40 kB\n", encoding="ascii")
    (folder / "uptime").write_text("12.5 99\n", encoding="ascii")


def test_health_tells_what_the_board_tells(tmp_path: Path) -> None:
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    proc.mkdir()
    (sys / "class/thermal/thermal_zone0").mkdir(parents=True)
    (sys / "class/thermal/thermal_zone0/temp").write_text("48312\n", encoding="ascii")
    _machine(proc, user=100, idle=100)
    health = Health(proc=proc, sys=sys)
    _machine(proc, user=130, idle=110)
    assert health.sample() == {
        "cpu": 0.75, "ram_free_kib": 512, "rss_kib": 40, "temperature_c": 48.312, "uptime_s": 12.5,
    }  # fmt: skip


def test_an_empty_board_tells_nothing(tmp_path: Path) -> None:
    assert Health(proc=tmp_path, sys=tmp_path).sample() == {}


def test_facts_name_the_machine(tmp_path: Path) -> None:
    found = facts(tmp_path, runtimes={"litert": "2.3.0"}, agent="0.1.0")
    assert found["runtimes"] == {"litert": "2.3.0"}
    assert found.keys() == {"arch", "cores", "ram_kib", "disk_free_kib", "runtimes", "python", "agent"}
