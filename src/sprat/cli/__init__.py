"""The command line: one file per noun; parse, call, print.

Nouns are imported when they are used, so that `sprat --help` stays light. Every error of ours becomes one line and the
exit code of its family; a traceback shows only with `--debug`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from sprat import __version__
from sprat.errors import NO_SPACE, SpratError
from sprat_device.board import readers

COMMANDS: Final[tuple[tuple[str, str, str], ...]] = (
    ("demo", "sprat.cli.demo:demo", "The story of the README, on this machine."),
    ("init", "sprat.cli.init:init", "A new project that builds at once."),
    ("data", "sprat.cli.data:app", "Content-addressed snapshots of data sets."),
    ("build", "sprat.cli.build:build", "Data -> model -> candidates -> gates -> bundles and report.html."),
    ("runs", "sprat.cli.runs:app", "Every build that was made here."),
    ("inspect", "sprat.cli.inspect:inspect", "What is in a bundle, an artifact, a frame, a metadata file."),
    ("check", "sprat.cli.check:check", "Reproduce a bundle's golden set with the device's own code."),
    ("runtimes", "sprat.cli.runtimes:app", "Environments to check bundles on."),
    ("keys", "sprat.cli.keys:app", "Signing keys and roles."),
    ("release", "sprat.cli.release:release", "Sign and publish bundles to a channel."),
    ("promote", "sprat.cli.release:promote", "Sign the same bytes for another channel."),
    ("withdraw", "sprat.cli.release:withdraw", "Stop offering a release."),
    ("rollback", "sprat.cli.release:rollback", "A new number for old bytes."),
    ("hub", "sprat.cli.hub:app", "The hub: broker, API, console, ingest."),
    ("enrol", "sprat.cli.enrol:app", "Who may join the fleet."),
    ("wheelhouse", "sprat.cli.wheelhouse:wheelhouse", "All that a board needs to install the agent without internet."),
    ("rollout", "sprat.cli.rollout:app", "Waves with gates."),
    ("fleet", "sprat.cli.fleet:app", "Devices and their twins."),
)
"""(name, module:attribute, help); the attribute is a Typer app, or a function that is the command itself."""


class LazyGroup(TyperGroup):
    """Knows its commands by name and help; imports the one that is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the table's order."""
        del ctx
        return [name for name, _, _ in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command, or return None for an unknown name."""
        del ctx
        for name, place, help_ in COMMANDS:
            if name == cmd_name:
                return _load(name, place, help_)
        return None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table of commands without importing any of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, _, help_ in COMMANDS])


def _load(name: str, place: str, help_: str) -> Any:
    module, attribute = place.split(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        single.command(name)(found)
        command = typer.main.get_command(single)
    command.name = name
    command.help = command.help or help_
    return command


app = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


def _show_version(value: bool) -> None:
    if value:
        print(f"sprat {__version__}")
        raise typer.Exit


def _show_settings(value: bool) -> None:
    if value:
        from sprat import settings
        from sprat.cli.output import Output

        Output().table(("setting", "value", "from"), settings.describe(settings.read()))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    show_settings: Annotated[
        bool,
        typer.Option(
            "--show-settings", callback=_show_settings, is_eager=True, help="Show every setting and where it came from."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
) -> None:
    """Train, quantize, sign and ship models to fleets of small computers, and keep them healthy there.

    Example: sprat build models/digits/recipe.toml --target generic-x86_64 --out out
    """
    del version, show_settings, debug  # the callbacks and main() have acted on them


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the entry point's wrapper exits with it."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Both are accepted anywhere on the line: people add it to the end of a command that has just failed.
    debug = "--debug" in arguments or bool(os.environ.get("SPRAT_DEBUG"))
    arguments = [argument for argument in arguments if argument != "--debug"]
    if "--show-settings" in arguments:
        arguments = ["--show-settings"]

    def told() -> int:
        try:
            return _run(arguments)
        except OSError:
            raise
        except (Exception, KeyboardInterrupt) as exc:
            if debug and not isinstance(exc, KeyboardInterrupt):
                raise
            return _explain(exc)

    def explain(exc: OSError) -> int:
        if debug:
            raise exc
        return _explain(exc)

    return readers.served(told, explain)


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="sprat", standalone_mode=False)
    except SystemExit as exc:
        # The parser ends a broken pipe with code 1, which means that a gate refused.
        if isinstance(exc.__context__, BrokenPipeError):
            raise exc.__context__ from None
        raise
    return code if isinstance(code, int) else 0


def _explain(exc: BaseException) -> int:
    """Print one line for an error, and return the exit code of its family."""
    match exc:
        case typer.Exit():
            return exc.exit_code
        case SpratError():
            said, code = _one_line(exc), exc.exit_code
        case typer.Abort():
            said, code = "aborted", 130
        case KeyboardInterrupt():
            said, code = "interrupted", 130
        case OSError(filename=str(name)):
            said, code = f"{name}: {exc.strerror}", 4
        case OSError() if exc.errno in NO_SPACE:
            said, code = f"{exc.strerror}; make room, or give another folder", 4
        # Wrong use, as the argument parser says it; typer does not export the base class of these errors.
        case _ if callable(message := getattr(exc, "format_message", None)):
            said, code = f"{_one_line(message()).rstrip('.')}; see --help", 2
        case _:
            said, code = f"a fault of Sprat ({type(exc).__name__}: {_one_line(exc)}); --debug shows where", 70
    print(f"sprat: {said}", file=sys.stderr)
    return code


def _one_line(what: object) -> str:
    return " ".join(str(what).split())
