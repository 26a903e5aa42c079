"""`sprat-device board …`: the agent's own place on a board. A program of its own, standard library only."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sprat_device.board import systemd
from sprat_device.board.upkeep.joining import Joining
from sprat_device.board.upkeep.machine import Machine
from sprat_device.board.upkeep.places import USER, Places
from sprat_device.board.upkeep.site import Site
from sprat_device.board.upkeep.sources import From
from sprat_device.board.upkeep.watch import SETTLE_S, START_S, Patience
from sprat_device.board.usage import CommandLine, folder
from sprat_device.contract.errors import WrongUse

DEFAULT_STATE: Final = "/var/lib/sprat"
_LINE: Final = "sprat-device board"


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are the caller's to print."""
    parsed = _parser().parse_args(argv)
    os.umask(0o022)  # the agent's user must read what root makes here
    # A lost terminal must end in the way back, not in a half-done upgrade.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    run: Callable[[argparse.Namespace], int] = parsed.run
    return run(parsed)


def _parser() -> CommandLine:
    parser = CommandLine(prog=_LINE, description="The agent's place on this board.")
    parser.example = "sprat-device board setup --wheelhouse /media/stick/pi-4-litert"
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    setup = _command(commands, "setup", _setup, "user, environment, unit and identity; done twice it changes nothing",
                     "--hub https://hub.local:8443 --token sprat1.…")  # fmt: skip
    _source(setup)
    _joining(setup)
    setup.add_argument(
        "--user", default=USER, metavar="NAME", help="the agent's user, made if it is not there (%(default)s)"
    )
    _unit_options(setup)
    upgrade = _command(commands, "upgrade", _upgrade, "take another agent, and go back if it is not well in time",
                       "--wheelhouse /media/stick/pi-4-litert")  # fmt: skip
    _source(upgrade)
    upgrade.add_argument("--hub", default="", metavar="URL", help="another way to the hub than the enrolment told")
    replace = _command(commands, "replace", _replace, "become a device that the fleet knows, with a new key",
                       "--hub https://hub:8443 --token sprat1.… --device kitchen")  # fmt: skip
    _joining(replace)
    remove = _command(commands, "remove", _remove, "take the agent off this board", "--keep-state")
    remove.add_argument("--keep-state", action="store_true", help="leave the state folder and its user")
    unit = _command(commands, "unit", _unit, "print the systemd unit", "--user sprat")
    unit.add_argument(
        "--python", type=Path, default=Path(sys.executable), metavar="FILE", help="Python that runs the agent"
    )
    unit.add_argument("--user", default=USER, metavar="NAME", help="user that runs the agent (%(default)s)")
    _unit_options(unit)
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], help_: str, example: str) -> Any:
    parser = commands.add_parser(name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.")
    parser.example = f"{_LINE} {name} {example}"
    state = os.environ.get("SPRAT_STATE", DEFAULT_STATE)
    parser.add_argument(
        "--state", type=folder, default=state, metavar="DIR", help="the device's state folder (%(default)s)"
    )
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="put everything below this folder (for tests)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    if name not in {"unit", "remove"}:
        parser.add_argument("--start-s", type=float, default=START_S, metavar="S",
                            help="how long the agent may take to tell that it runs (%(default)g)")  # fmt: skip
        parser.add_argument("--settle-s", type=float, default=SETTLE_S, metavar="S",
                            help="how long it must then go on (%(default)g)")  # fmt: skip
    parser.set_defaults(run=run)
    return parser


def _source(parser: Any) -> None:
    parser.add_argument("--wheelhouse", type=Path, metavar="DIR", help="folder of `sprat wheelhouse`; else the hub's")
    parser.add_argument("--sha256", default="", metavar="HEX", help="what the SHA-256 of its manifest must be")
    parser.add_argument("--name", default="", help="which of the hub's wheelhouses")
    parser.add_argument("--runtime", default="", choices=("", "tflite", "litert", "onnx"), metavar="NAME",
                        help="or by its runtime: tflite, litert or onnx")  # fmt: skip
    parser.add_argument("--apt", action="store_true", help="let apt install what the wheelhouse leaves to Debian")


def _joining(parser: Any) -> None:
    parser.add_argument("--hub", default="", metavar="URL", help="address of the hub's device port")
    parser.add_argument("--token", default="", help="one-time token of `sprat enrol token`; - reads it from stdin")
    parser.add_argument("--device", default="", metavar="NAME", help="the id to ask for")


def _unit_options(parser: Any) -> None:
    parser.add_argument("--memory-max-mib", type=int, default=0, metavar="N",
                        help="most memory of agent and children, 160 or more; 0 is no limit (%(default)s)")  # fmt: skip
    parser.add_argument("--open", action="append", default=[], metavar="DEVICE", help="a device that a source reads")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="a group that owns such a device")
    parser.add_argument("--allow-writable-code", action="store_true", help="for a runtime that makes code as it runs")


def _setup(parsed: argparse.Namespace) -> int:
    from sprat_device.board.upkeep.setup import set_up  # noqa: PLC0415 - only this command needs it

    source, joining, unit = _from(parsed), _join(parsed), _chosen(parsed)
    with _changed(parsed) as site:
        done = set_up(site, source, joining, user=parsed.user, unit=unit)
    who = f"{done.device} runs" if done.device else "no identity yet (sprat-device board setup --hub --token);"
    document = {"device": done.device, "agent": done.agent, "environment": done.environment,
                "upgraded_from": done.upgraded_from}  # fmt: skip
    return _tell(parsed, document, f"{who} agent {done.agent} ({done.environment})")


def _upgrade(parsed: argparse.Namespace) -> int:
    from sprat_device.board.upkeep.upgrade import upgrade  # noqa: PLC0415 - only this command needs it

    with _changed(parsed) as site:
        done = upgrade(site, _from(parsed))
    what = f"upgraded from {done.upgraded_from}" if done.upgraded_from else "nothing to do"
    document = {"device": done.device, "agent": done.agent, "environment": done.environment,
                "upgraded_from": done.upgraded_from}  # fmt: skip
    return _tell(parsed, document, f"{done.device} runs agent {done.agent} ({done.environment}); {what}")


def _replace(parsed: argparse.Namespace) -> int:
    from sprat_device.board.upkeep.replace import replace  # noqa: PLC0415 - only this command needs it

    joining = _join(parsed)
    with _changed(parsed) as site:
        device = replace(site, joining)
    return _tell(parsed, {"device": device}, f"this board is {device} now")


def _remove(parsed: argparse.Namespace) -> int:
    from sprat_device.board.upkeep.remove import remove  # noqa: PLC0415 - only this command needs it

    with _changed(parsed) as site:
        device = remove(site, keep_state=parsed.keep_state)
    then = f"; put it out of the fleet with: sprat enrol revoke {device}" if device and not parsed.keep_state else ""
    return _tell(parsed, {"removed": True, "device": device}, f"the agent is off this board{then}")


def _unit(parsed: argparse.Namespace) -> int:
    text = _text(parsed, parsed.python)
    return _tell(parsed, {"unit": text}, text.rstrip("\n"))


def _text(parsed: argparse.Namespace, python: Path) -> str:
    """Return the unit with the chosen options, or raise WrongUse."""
    if parsed.memory_max_mib < 0:
        raise WrongUse(f"--memory-max-mib {parsed.memory_max_mib}: expected MiB, or 0 for no limit")
    return systemd.unit(
        python=python, state=parsed.state, user=parsed.user, memory_max_mib=parsed.memory_max_mib,
        devices=parsed.open, groups=parsed.group, writable_code="allow" if parsed.allow_writable_code else "deny",
    )  # fmt: skip


def _chosen(parsed: argparse.Namespace) -> tuple[str, ...]:
    """Return the unit's options as they were given, after a look at whether a unit can be made with them."""
    _text(parsed, Path(sys.executable))
    chosen = ["--memory-max-mib", str(parsed.memory_max_mib)] if parsed.memory_max_mib else []
    for option in ("open", "group"):
        chosen += [part for value in getattr(parsed, option) for part in (f"--{option}", value)]
    return (*chosen, *(["--allow-writable-code"] if parsed.allow_writable_code else []))


@contextmanager
def _changed(parsed: argparse.Namespace) -> Iterator[Site]:
    """Give the board to this command alone."""
    root = parsed.root.absolute()
    patience = Patience(getattr(parsed, "start_s", START_S), getattr(parsed, "settle_s", SETTLE_S))
    site = Site(Places.below(root, parsed.state), Machine(root), patience, _say, getattr(parsed, "apt", False))
    with site.machine.changing():
        yield site


def _from(parsed: argparse.Namespace) -> From:
    return From(parsed.wheelhouse, parsed.sha256, parsed.name, parsed.runtime, parsed.hub)


def _join(parsed: argparse.Namespace) -> Joining:
    token = sys.stdin.readline().strip() if parsed.token == "-" else parsed.token  # noqa: S105 - not a password
    return Joining(parsed.hub, token, parsed.device)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201 - the command's progress


def _tell(parsed: argparse.Namespace, document: dict[str, Any], line: str) -> int:
    print(json.dumps(document) if parsed.json else line)  # noqa: T201 - the command's output
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
