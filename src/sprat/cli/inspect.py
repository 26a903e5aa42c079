"""`sprat inspect`: what is in a bundle, an artifact, a frame or a metadata file, by its content and not its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sprat.cli.output import JsonFlag, Output, QuietFlag


def inspect(
    file: Annotated[Path, typer.Argument(help="A .sprat, .tflite, .onnx, a frame, a .npz or a TUF metadata file.")],
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Say what a file is and what stands in it; nothing of it is executed.

    Example: sprat inspect out/digits-generic-x86_64.sprat
    """
    from sprat.compiler.inspection import describe

    output = Output(json, quiet)
    found = describe(file)
    output.result(found, *_lines(found))


def _lines(found: object, indent: str = "") -> list[str]:
    """Lay a document out for people: a key a line, lists of plain values on one."""
    lines: list[str] = []
    if isinstance(found, dict):
        for key, value in found.items():
            if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
                lines.append(f"{indent}{key}:")
                lines += _lines(value, indent + "  ")
            else:
                shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
                lines.append(f"{indent}{key}: {shown}")
    elif isinstance(found, list):
        for one in found:
            first, *rest = _lines(one, indent + "  ") or [f"{indent}  {one}"]
            lines += [f"{indent}- {first.strip()}", *rest]
    else:
        lines.append(f"{indent}{found}")
    return lines
