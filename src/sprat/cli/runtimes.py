"""`sprat runtimes`: environments to check bundles on, each with one runtime and what its wheel needs."""

from __future__ import annotations

import json as json_
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, urlparse

import typer

from sprat import settings as settings_
from sprat.cli.output import JsonFlag, Output, QuietFlag, noun
from sprat.errors import MachineLacks, WrongUse

app = noun("Environments to check bundles on.\n\nExample: sprat runtimes add tflite")

EXTRAS: Final = ("tflite", "litert", "onnx")


@app.command("list")
def list_(
    runner: Annotated[str, typer.Option(help="Only this one: local, env:NAME or ssh:HOST.")] = "",
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """List the environments and the runtimes that each has.

    Example: sprat runtimes list --runner ssh:pi@camera-3
    """
    from sprat.compiler.runners import measure

    output = Output(json, quiet)
    found = {one.name: dict(one.runtimes()) for one in measure.runners(settings_.read().runtimes_dir, runner)}
    output.table(
        ("runner", "runtimes"),
        [(name, ", ".join(f"{one} {version}" for one, version in has.items()) or "-") for name, has in found.items()],
    )
    if json:
        output.emit_json({"runners": found})


@app.command()
def add(
    runtime: Annotated[str, typer.Argument(help="tflite, litert or onnx.")],
    name: Annotated[str, typer.Option(help="Name of the environment; default: the runtime's.")] = "",
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make an environment with the agent and one runtime.

    Example: sprat runtimes add tflite
    """
    output = Output(json, quiet)
    if runtime not in EXTRAS:
        raise WrongUse(f"runtime {runtime!r}: expected one of {', '.join(EXTRAS)}")
    folder = _folder(name or runtime)
    if folder.exists():
        raise WrongUse(f"environment {folder} exists; `sprat runtimes remove {folder.name}` first, or give a --name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with output.progress("runtimes") as say:
            has = _make(folder, runtime, say)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # nothing half-made stays behind
        raise
    output.result({"runner": f"env:{folder.name}", "folder": str(folder), "runtimes": has},
                  f"env:{folder.name}  {runtime} {has[runtime]}")  # fmt: skip


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of the environment.")],
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Remove an environment.

    Example: sprat runtimes remove tflite
    """
    folder = _folder(name)
    if not (folder / "pyvenv.cfg").is_file():
        raise WrongUse(f"environment {name!r} is not in {folder.parent}; see `sprat runtimes list`")
    shutil.rmtree(folder)
    Output(json, quiet).result({"removed": name}, f"removed env:{name}")


def _folder(name: str) -> Path:
    if not name.replace("-", "").replace("_", "").isalnum():
        raise WrongUse(f"name {name!r}: expected letters, digits, - and _")
    return settings_.read().runtimes_dir / name


def _make(folder: Path, runtime: str, say: Callable[[str], None]) -> dict[str, str]:
    """Make the environment, install, and ask it what it has."""
    from sprat.compiler.runners import measure

    say(f"making {folder}")
    venv.create(folder, with_pip=True, symlinks=True)
    say(f"installing sprat-device[{runtime}]")
    _install(folder / "bin" / "python", runtime)
    has = dict(measure.environment(folder.parent, folder.name).runtimes())
    if runtime not in has:
        raise MachineLacks(f"environment {folder}: {runtime} is not there after the installation; try again")
    return has


def _install(python: Path, extra: str) -> None:
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _requirement(extra)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        hint = f"it needs another Python than {sys.version_info.major}.{sys.version_info.minor}, or the index is away"
        raise MachineLacks(
            f"sprat-device[{extra}] cannot be installed ({said[-1] if said else 'no reason given'}); {hint}"
        )


def _requirement(extra: str) -> str:
    """Name the agent's own source tree where this installation runs from one, else the released package."""
    found = metadata.distribution("sprat-device")
    origin = json_.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable") and origin.get("url", "").startswith("file:"):
        return f"{unquote(urlparse(origin['url']).path)}[{extra}]"
    return f"sprat-device[{extra}]=={found.version}"
