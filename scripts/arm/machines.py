"""The two machines: what each is made of, as data. The recipe's conditions stand in firmware-notes/emulation.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SUITE: Final = "bookworm"
"""The last Debian whose Python (3.11) all three runtimes have wheels for."""
SYSTEM: Final = (
    "python3", "python3-distutils", "libc-bin", "bash", "dash", "coreutils", "ca-certificates", "libstdc++6", "zlib1g",
)  # fmt: skip
"""Debian's packages on every machine; a target's own stand in its file, under [debian]."""
_GLIBC: Final = ("2014", "_2_17", "_2_27", "_2_28", "_2_31", "_2_34")
"""Ages of glibc that wheels name; bookworm's is 2.36."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One emulated board."""

    name: str
    """Debian's word for it, which is also ours."""
    arch: str
    """What `uname -m` says there."""
    cores: tuple[str, ...]
    """Cores that qemu shall be, the first for everything, each with a /proc/cpuinfo in cores/: a runtime chooses its
    kernels by the core. On qemu's default, LiteRT's int8 kernels answered wrongly without an error."""
    target: str
    """The target that bundles are built for."""
    more_runtimes: tuple[str, ...]
    """Wheels of the runtimes beside tflite-runtime, as in constraints.txt."""
    runtimes: tuple[str, ...]
    links: Mapping[str, str]
    """Links that a package's own script would have made: extracting packages runs none."""

    @property
    def platforms(self) -> tuple[str, ...]:
        """Return the wheel platforms that run here."""
        return tuple(f"manylinux{age}_{self.arch}" for age in _GLIBC)


ARM64: Final = Machine(
    name="arm64",
    arch="aarch64",
    cores=("cortex-a72", "cortex-a53", "cortex-a76"),  # Pi 4; Zero 2 W and 3; Pi 5, with dot products and float16
    target="generic-aarch64",
    more_runtimes=("ai-edge-litert", "onnxruntime", "flatbuffers"),
    runtimes=("tflite", "litert", "onnx"),
    links={},
)

_LIBRARIES: Final = "usr/lib/arm-linux-gnueabihf"

ARMHF: Final = Machine(
    name="armhf",
    arch="armv7l",
    cores=("cortex-a7",),
    target="generic-armv7l",
    more_runtimes=(),
    runtimes=("tflite",),
    links={
        f"{_LIBRARIES}/libblas.so.3": "blas/libblas.so.3",
        f"{_LIBRARIES}/liblapack.so.3": "lapack/liblapack.so.3",
    },
)

MACHINES: Final = {machine.name: machine for machine in (ARM64, ARMHF)}
