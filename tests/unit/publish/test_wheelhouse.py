"""Wheelhouses without a network: which wheels fit which board, which versions apply, how the agent is packed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sprat.cli import main
from sprat.cli.wheelhouse import board_of, target_of
from sprat.errors import Refused, SpratError, WrongUse
from sprat.publish.wheelhouse import agent, pins, wheels
from sprat.publish.wheelhouse.platforms import GLIBC, Platform

TARGETS = Path(__file__).parents[3] / "models" / "targets"


def test_a_board_takes_wheels_up_to_its_own_glibc_and_all_older_ones() -> None:
    tags = Platform("aarch64", "3.11").tags
    assert tags[0] == "manylinux_2_36_aarch64"  # Debian bookworm
    assert {"manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"} <= set(tags)
    assert "manylinux_2_37_aarch64" not in tags
    assert "manylinux_2_12_aarch64" not in tags
    assert "manylinux1_x86_64" in Platform("x86_64", "3.11").tags
    assert Platform("armv7l", "3.13").abis == ("cp313", "abi3", "none")


@pytest.mark.parametrize(("arch", "python"), [("riscv64", "3.11"), ("aarch64", "3.9"), ("aarch64", "4.0")])
def test_a_board_that_nobody_knows_is_wrong_use(arch: str, python: str) -> None:
    with pytest.raises(WrongUse, match=r"expected one of|runs on"):
        Platform(arch, python)


def test_numpy_1_goes_with_tflite_runtime_alone() -> None:
    assert pins.load("tflite")["numpy"].startswith("1.")
    assert pins.load("litert")["numpy"].startswith("2.")
    assert pins.load("onnx")["onnxruntime"] == pins.load("tflite")["onnxruntime"]


def test_every_requirement_of_every_runtime_is_pinned() -> None:
    for line in metadata.requires("sprat-device") or ():
        requirement = Requirement(line)
        for runtime in ("tflite", "litert", "onnx"):
            if requirement.marker is None or requirement.marker.evaluate({"extra": runtime}):
                assert pins.pinned(requirement, pins.load(runtime), needed_by="sprat-device")


def test_a_constraint_that_lacks_or_does_not_fit_is_named() -> None:
    with pytest.raises(SpratError, match="does not pin; add its version"):
        pins.pinned(Requirement("nowhere>=1"), {}, needed_by="tuf")
    with pytest.raises(SpratError, match=r"tuf needs urllib3<3,>=2, constraints.txt pins 1\.9; mend"):
        pins.pinned(Requirement("urllib3>=2,<3"), {"urllib3": "1.9"}, needed_by="tuf")


@pytest.mark.parametrize("path", sorted(TARGETS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_target_has_a_wheelhouse_of_its_first_runtime(path: Path) -> None:
    target = target_of(path.stem, TARGETS)
    board = board_of(target, "", "")
    assert board.platform.python == target.python in GLIBC
    assert board.name == f"{target.name}-{next(iter(target.runtimes))}"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            "--target generic-armv7l --runtime onnx",
            1,
            "no-runtime: onnx has no wheels for generic-armv7l; it runs tflite",
        ),
        (
            "--target pi-4 --runtime tflite --python 3.13",
            1,
            "no-runtime: tflite has no wheels for Python 3.13, only for 3.11;",
        ),
        (
            "--target pi-4 --python three",
            2,
            "--python: found 'three', expected 3.N, as `python3 --version` says on the",
        ),
        ("--target pi-4 --runtime torch", 2, "runtime 'torch': expected one of"),
        ("--target pi-5", 2, "--target: unknown target 'pi-5'; did you mean 'pi-4'?"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    arguments: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wheelhouse", *arguments.split(), "--out", str(tmp_path / "out")]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"sprat: {said}")
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_another_python_has_a_wheelhouse_of_its_own() -> None:
    assert board_of(target_of("pi-4", TARGETS), "litert", "3.13").name == "pi-4-litert-py3.13"


def test_a_folder_that_is_no_wheelhouse_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pi-4-litert").mkdir()
    (tmp_path / "pi-4-litert" / "mine").touch()
    assert main(["wheelhouse", "--target", "pi-4", "--runtime", "litert", "--out", str(tmp_path)]) == 2
    assert "exists and is no wheelhouse" in capsys.readouterr().err
    assert (tmp_path / "pi-4-litert" / "mine").exists()


def test_what_the_index_says_becomes_a_remedy() -> None:
    board = Platform("armv7l", "3.11")
    missing = wheels._refused(
        ["ERROR: Could not find a version that satisfies the requirement numpy==1.26.4 (from versions: none)",
         "ERROR: No matching distribution found for numpy==1.26.4"], board,
    )  # fmt: skip
    assert isinstance(missing, Refused)
    assert str(missing).startswith("no-wheel: numpy==1.26.4: the package index has no wheel for Python 3.11 on armv7l;")
    assert wheels._refused(["ERROR: [Errno 28] No space left on device"], board).exit_code == 4
    assert wheels._refused(["ERROR: HTTPSConnectionPool: Max retries exceeded"], board).exit_code == 3


def test_an_installed_agent_is_packed_as_an_installable_wheel(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    built = agent.agent_wheel(tmp_path / "one")  # from the source tree
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target"]
    subprocess.run([*install, site, built], check=True, capture_output=True)
    (found,) = metadata.distributions(name="sprat-device", path=[str(site)])
    (tmp_path / "two").mkdir()
    (tmp_path / "three").mkdir()
    packed, again = agent.pack(found, tmp_path / "two"), agent.pack(found, tmp_path / "three")
    assert packed.name == built.name
    assert packed.read_bytes() == again.read_bytes()
    assert set(zipfile.ZipFile(built).namelist()) <= set(zipfile.ZipFile(packed).namelist())
    subprocess.run([*install, tmp_path / "site2", packed], check=True, capture_output=True)
    assert (tmp_path / "site2" / "sprat_device" / "__main__.py").is_file()


def test_requirements_carry_hashes_and_leave_the_installer_out() -> None:
    text = wheels.requirements(
        [("numpy-1.26.4-cp311-cp311-manylinux2014_aarch64.whl", "ab"), ("pip-26.3-py3-none-any.whl", "cd")]
    )
    assert text == "numpy==1.26.4 --hash=sha256:ab\n"
