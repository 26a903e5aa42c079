from __future__ import annotations

import platform

import pytest

from sprat_device.board.arch import arch, arch_of


@pytest.mark.parametrize(
    ("kernel", "is_32_bit", "expected"),
    [
        ("aarch64", False, "aarch64"),
        ("aarch64", True, "armv7l"),  # Raspberry Pi OS of 32 bits on a Pi 3, 4, 5 or Zero 2 W
        ("armv8l", True, "armv7l"),  # the same under setarch linux32
        ("armv7l", True, "armv7l"),
        ("armv6l", True, "armv6l"),  # a Pi Zero of the first kind has no wheel of ours: it must not pass for armv7l
        ("x86_64", False, "x86_64"),
    ],
)
def test_what_counts_is_the_program_and_not_the_kernel(kernel: str, is_32_bit: bool, expected: str) -> None:
    assert arch_of(kernel, is_32_bit=is_32_bit) == expected


def test_this_machine_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr("sys.maxsize", 2**31 - 1)
    assert arch() == "armv7l"
