"""Which wheels a board's Python takes: platform tags (PEP 600) and the facts that markers ask for (PEP 508)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sprat.errors import WrongUse

GLIBC: Final = {"3.11": 36, "3.12": 39, "3.13": 41, "3.14": 41}
"""Minor version of glibc 2 beside each Python: Debian bookworm 3.11, Ubuntu noble 3.12, Debian trixie 3.13."""
ARCHITECTURES: Final = ("x86_64", "aarch64", "armv7l")
_OLDEST: Final = {"x86_64": 5, "aarch64": 17, "armv7l": 17}
_LEGACY: Final = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


@dataclass(frozen=True, slots=True)
class Platform:
    """A board's machine and Python."""

    arch: str
    python: str

    def __post_init__(self) -> None:
        """Know both, or raise WrongUse."""
        if self.arch not in ARCHITECTURES:
            raise WrongUse(f"architecture {self.arch!r}: expected one of {', '.join(ARCHITECTURES)}")
        if self.python not in GLIBC:
            raise WrongUse(f"Python {self.python!r}: the agent runs on {', '.join(GLIBC)}")

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the platform tags, the newest first; PEP 600 lets a board run all older ones too."""
        tags = []
        for minor in range(GLIBC[self.python], _OLDEST[self.arch] - 1, -1):
            tags.append(f"manylinux_2_{minor}_{self.arch}")
            if minor in _LEGACY:
                tags.append(f"{_LEGACY[minor]}_{self.arch}")
        return (*tags, f"linux_{self.arch}")

    @property
    def abis(self) -> tuple[str, ...]:
        """Return the ABIs of CPython."""
        return (f"cp{self.python.replace('.', '')}", "abi3", "none")

    @property
    def markers(self) -> dict[str, str]:
        """Return what environment markers see on the board."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.arch,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
