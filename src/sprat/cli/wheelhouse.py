"""`sprat wheelhouse`: all that a board needs to install the agent without internet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sprat.cli.output import JsonFlag, Output, QuietFlag
from sprat.errors import Refused, WrongUse

if TYPE_CHECKING:
    from sprat.compiler.spec.target import Target
    from sprat.publish.wheelhouse.folder import Board


def wheelhouse(
    target: Annotated[str, typer.Option("--target", metavar="NAME", help="Kind of board, as for `sprat build`.")],
    runtime: Annotated[
        str, typer.Option(metavar="tflite|litert|onnx", help="Inference runtime; the target's first if left out.")
    ] = "",
    python: Annotated[str, typer.Option(metavar="3.N", help="Python of the board; the target's if left out.")] = "",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the wheelhouse; a hub serves HUB/wheelhouses.")
    ] = Path("wheelhouses"),
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Gather all that a board of a target needs to install the agent.

    The result is a folder of wheels with an install script and the SHA-256 of every file. Put it on a stick, or build
    it into the folder `wheelhouses` of a hub, which serves it to boards that have a token.

    Example: sprat wheelhouse --target pi-zero-2w --out ~/hub/wheelhouses
    """
    from sprat import settings
    from sprat.publish.wheelhouse.folder import build

    output = Output(json, quiet)
    board = board_of(target_of(target, settings.read().targets_dir), runtime, python)
    with output.progress("wheelhouse") as say:
        built = build(board, out, say)
    house = built.house
    size = f"{house.sealed_bytes / 1e6:.1f} MB, {house.installed_bytes / 1e6:.0f} MB installed"
    lines = [
        f"{built.folder}: agent {house.agent} with {house.runtime}, Python {house.python}, {house.arch[0]}; {size}",
        f"manifest SHA-256 {built.sha256}",
    ]
    if house.debian:
        lines.append(f"the board also needs, from Debian: {' '.join(house.debian)}")
    document = {
        "folder": str(built.folder), "name": house.name, "target": house.target, "runtime": house.runtime,
        "python": house.python, "arch": list(house.arch), "agent": house.agent, "sha256": built.sha256,
        "debian": list(house.debian), "bytes": house.sealed_bytes, "installed_bytes": house.installed_bytes,
        "files": [file.name for file in house.files],
    }  # fmt: skip
    output.result(document, *lines)


def target_of(name: str, targets_dir: Path) -> Target:
    """Return a target of the settings' folder or a built-in one, or raise RecipeError."""
    from sprat.compiler.spec import target
    from sprat.compiler.spec.project import every_target
    from sprat.settings import unknown_key

    known = every_target(targets_dir)
    if name not in known:
        raise WrongUse(unknown_key(name, tuple(known), "--target").replace("unknown key", "unknown target"))
    return target.parse(known[name].read_text("utf-8"), name=str(known[name]))


def board_of(target: Target, runtime: str, python: str) -> Board:
    """Return the boards that are meant, or say in one line why there can be none."""
    from sprat.publish.wheelhouse.folder import Board
    from sprat.publish.wheelhouse.platforms import Platform
    from sprat_device.contract.ids import model_name
    from sprat_device.contract.manifest import Runtime

    wanted, version = runtime or next(iter(target.runtimes)), python or target.python
    if wanted not in list(Runtime):
        raise WrongUse(f"runtime {wanted!r}: expected one of {', '.join(Runtime)}")
    need = target.runtimes.get(wanted)
    if need is None:
        raise Refused(
            "no-runtime", f"{wanted} has no wheels for {target.name}; it runs {', '.join(target.runtimes)} (--runtime)"
        )
    if not re.fullmatch(r"3\.\d{1,3}", version):
        raise WrongUse(f"--python: found {version[:40]!r}, expected 3.N, as `python3 --version` says on the board")
    if version not in need.python:
        raise Refused(
            "no-runtime",
            f"{wanted} has no wheels for Python {version}, only for {', '.join(need.python)}; "
            f"take another --runtime or --python",
        )
    name = f"{target.name}-{wanted}" if version == target.python else f"{target.name}-{wanted}-py{version}"
    return Board(model_name(name), target.name, Platform(target.arch[0], version), wanted, target.debian)
