"""`sprat demo`: the story of the README on this machine."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from sprat import settings
from sprat.cli.output import JsonFlag, Output, QuietFlag
from sprat.errors import MachineLacks, Refused
from sprat.lab.stage import Figure


class Teller:
    """Tells the story on the terminal: chapters, what is done, figures as they come."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._began = time.monotonic()

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._out.say(f"\n{title}  [{time.monotonic() - self._began:.0f} s]")

    def say(self, line: str) -> None:
        """Tell what is done right now."""
        self._out.say(f"   {line}")

    def figure(self, figure: Figure) -> None:
        """Show a figure."""
        beside = "" if figure.ok else f", expected {figure.expected}"
        self._out.say(f"   {'ok ' if figure.ok else 'NOT'} {figure.what}: {figure.value}{beside}")


def demo(
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Leave the console open when the story is told.")
    ] = True,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where the story plays; replaced. Default: a temporary folder.")
    ] = None,
    console_port: Annotated[int, typer.Option(help="Port of the console; 0 takes a free one.")] = 0,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Train, quantize, sign, ship, lose a link, refuse a forgery, roll out again: on real data, in about two minutes.

    Example: sprat demo --no-wait --json
    """
    from sprat.lab import story

    out = Output(json=json, quiet=quiet)
    config = settings.read()
    python = config.runtimes_dir / "tflite" / "bin" / "python"
    if not python.exists():
        out.warn("no environment with tflite-runtime (sprat runtimes add tflite); all agents use LiteRT")
    place = folder or Path(tempfile.mkdtemp(prefix="sprat-demo-"))
    with story.stage(
        place, _models(), Teller(out), device_python=python if python.exists() else None, console_port=console_port
    ) as on:
        story.tell(on)
        document = story.document(on)
        login = document["login"]
        out.say("")
        out.table(("", "figure", "seen", "expected"), [(f.chapter, f.what, f.value, f.expected) for f in on.figures])
        out.result(document)
        out.say(f"\nconsole: {document['console']}  login: {login['name']}  password: {login['password']}")
        out.say(f"folder:  {place}")
        if wait:
            out.say("Ctrl-C ends the hub and the agents.")
            # A shell that starts this in the background has it ignore interrupts.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            threading.Event().wait()
    wrong = [figure for figure in on.figures if not figure.ok]
    if wrong:
        raise Refused(
            "story",
            f"{len(wrong)} figures differ, the first: {wrong[0].what} {wrong[0].value}, expected {wrong[0].expected}",
        )


def _models() -> Path:
    """Return the folder of the example recipes: the checkout's, or the one that the wheel carries."""
    for candidate in (Path(__file__).parents[3] / "models", Path(__file__).parents[1] / "models"):
        if (candidate / "digits" / "recipe.toml").exists():
            return candidate
    raise MachineLacks("the example recipes are missing; install sprat anew or run from a checkout")
