"""A Debian userland of another architecture in a folder, with the device's wheel and the runtimes in it.

Packages are extracted, not installed: their scripts would run under qemu, for minutes. Made once for each recipe and
kept; the agent is put in anew whenever its code changed.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from machines import SUITE, SYSTEM, Machine

from sprat.errors import MachineLacks
from sprat.lab.shell import Shell

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SITE: Final = "usr/local/lib/python3.11/dist-packages"
_MORE: Final = "opt/more"
"""What is not the agent's: further runtimes and the tests' tools, behind the agent's own on the path."""
_TEST_WHEELS: Final = ("pytest", "pytest-timeout", "hypothesis", "sortedcontainers", "pluggy", "iniconfig", "packaging", "pygments")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Board:
    """A userland at work: its Python, and the folder of this run."""

    machine: Machine
    core: str
    python: Path
    work: Path

    @property
    def name(self) -> str:
        """Return the machine's name."""
        return self.machine.name

    @property
    def is_first(self) -> bool:
        """Tell whether this is the core that everything runs on."""
        return self.core == self.machine.cores[0]


@dataclass(frozen=True, slots=True)
class Userland:
    """A userland that is ready to run programs."""

    machine: Machine
    folder: Path

    def board(self, core: str, work: Path) -> Board:
        """Write `work/CORE-python`: it behaves as this userland's Python, and `work` is the one folder it may write."""
        command = [HERE / "enter.sh", self.folder, HERE / "cores" / f"{core}.cpuinfo", work, core]
        wrapper = work / f"{core}-python"
        quoted = " ".join(shlex.quote(str(part)) for part in command)
        wrapper.write_text(f'#!/bin/sh\nexec {quoted} /usr/bin/python3 "$@"\n')
        wrapper.chmod(0o755)
        return Board(self.machine, core, wrapper, work)

    @property
    def site_folders(self) -> tuple[Path, Path]:
        """Return where Python packages stand: ours, and Debian's."""
        return self.folder / _SITE, self.folder / "usr/lib/python3/dist-packages"


def make(machine: Machine, kept: Path) -> Userland:
    """Return the userland of a machine below `kept`, made or completed where needed."""
    folder = kept / machine.name
    packages = (*SYSTEM, *sorted(from_debian(machine).values()))
    recipe = (repr(machine), repr(packages), SUITE, (ROOT / "constraints.txt").read_text())
    want = _digest(*recipe, Path(__file__).read_text())
    if _read(folder / "made-from") != want:
        shutil.rmtree(folder, ignore_errors=True)
        kept.mkdir(exist_ok=True)
        _extract(machine, packages, folder)
        _pip(machine, folder / _MORE, ["-c", "constraints.txt", *machine.more_runtimes, *_TEST_WHEELS])
        (folder / "made-from").write_text(want)
    _install_agent(machine, folder)
    return Userland(machine, folder)


def from_debian(machine: Machine) -> dict[str, str]:
    """Return what the machine's target takes from Debian instead of the package index: project -> package."""
    target = tomllib.loads((ROOT / "models" / "targets" / f"{machine.target}.toml").read_text())
    return dict(target.get("debian", {}))


def debian_source() -> str:
    """Return the address of the Debian archive that this machine's own apt uses."""
    template = "$(REPO_URI) $(ORIGIN) $(COMPONENT) $(CODENAME)"
    told = _run(["apt-get", "indextargets", "--format", template, "Created-By: Packages"]).splitlines()
    main = [line.split() for line in told if " Debian main " in line]
    found = [parts[0] for parts in main if "-" not in parts[-1]]  # neither -updates nor -security
    if not found:
        raise MachineLacks(
            "apt's sources name no Debian archive (main); add one to /etc/apt/sources.list.d and try again"
        )
    return found[0]


def _extract(machine: Machine, packages: Sequence[str], folder: Path) -> None:
    source = f"deb [signed-by={_KEYRING}] {debian_source()} {SUITE} main\n"
    command = [
        "mmdebstrap", "--variant=extract", "--mode=root", f"--architectures={machine.name}", "--quiet",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", f"--include={','.join(packages)}",
        SUITE, str(folder), "-",
    ]  # fmt: skip
    _run(command, given=source)
    for link, to in machine.links.items():
        (folder / link).symlink_to(to)


def _install_agent(machine: Machine, folder: Path) -> None:
    """Install what `sprat wheelhouse` makes for this target: the same wheels as a board gets."""
    site, stamp = folder / _SITE, folder / "agent-from"
    sources = [p for p in sorted((ROOT / "device").rglob("*")) if p.suffix in {".py", ".toml", ".txt"}]
    want = _digest(*(p.read_text() for p in sources))
    if _read(stamp) == want:
        return
    houses = folder.parent / f"{machine.name}-wheelhouse"
    made = Shell(lambda _line: None).sprat(
        "wheelhouse", "--target", machine.target, "--runtime", "tflite", "--out", str(houses)
    )
    wheels = sorted((Path(made["folder"]) / "wheels").glob("*.whl"))
    shutil.rmtree(site, ignore_errors=True)
    _pip(machine, site, [str(wheel) for wheel in wheels if not wheel.name.startswith("pip-")])
    (site / "more.pth").write_text(f"/{_MORE}\n")
    shutil.rmtree(houses)
    stamp.write_text(want)


def _pip(machine: Machine, site: Path, wanted: Sequence[str]) -> None:
    """Let the host's pip fill a folder with wheels for the other machine; it runs nothing of theirs."""
    abis = [part for abi in ("cp311", "abi3", "none") for part in ("--abi", abi)]
    platforms = [part for platform in machine.platforms for part in ("--platform", platform)]
    command = [
        sys.executable, "-m", "pip", "install", "-q", "--target", str(site), "--no-deps", "--only-binary=:all:",
        "--python-version", "3.11", "--implementation", "cp", *abis, *platforms, *wanted,
    ]  # fmt: skip
    _run(command)


def _run(command: Sequence[str], *, given: str | None = None) -> str:
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "; ".join(done.stderr.strip().splitlines()[-3:])
        raise MachineLacks(f"{' '.join(command[:4])} … ended with {done.returncode}: {said}")
    return done.stdout


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
