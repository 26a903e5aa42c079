"""`sprat check`: reproduces a bundle's golden set with the device's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sprat import settings as settings_
from sprat.cli.output import JsonFlag, Output, QuietFlag


def check(
    bundle: Annotated[Path, typer.Argument(help="The .sprat file.")],
    runner: Annotated[
        str, typer.Option(help="Where: local, env:NAME or ssh:HOST; default: the first here that has a runtime.")
    ] = "",
    runtime: Annotated[str, typer.Option(help="tflite, litert or onnx; default: the bundle's first there.")] = "",
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Reproduce the golden set, and measure latency and memory, with the device's own program.

    Example: sprat check out/digits-generic-x86_64.sprat --runner env:tflite
    Example: sprat check out/digits-pi-zero-2w.sprat --runner ssh:pi@camera-3
    """
    from sprat.compiler import inspection
    from sprat.compiler.runners import measure
    from sprat.errors import MachineLacks

    output = Output(json, quiet)
    manifest = inspection.read_bundle(bundle)
    wanted = {runtime} if runtime else set(manifest.runtimes)
    found = measure.runners(settings_.read().runtimes_dir, runner)
    able = next((one for one in found if runner or wanted & set(one.runtimes())), None)
    if able is None:
        raise MachineLacks(
            f"bundle needs {' or '.join(sorted(wanted))}, no environment here has it; "
            f"add one with `sprat runtimes add {min(wanted)}`"
        )
    document = able.check(bundle, runtime=runtime or None)
    measure.require_ok(document)
    golden = document["golden"]
    output.result(
        document,
        f"{bundle}: ok on {document['runtime']} {document['runtime_version']}, {document['where']}: {golden['count']} golden "
        f"outputs reproduced (worst {golden['worst']:g}, allowed {golden['tolerance']:g} {golden['kind']}); "
        f"p50 {document['latency_us']['p50']:g} us, {document['ram_above_floor_kib']} KiB above the runtime's floor",
    )
