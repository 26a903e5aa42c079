"""`sprat-device`: the entry. Argument parsing is the standard library's, for a device pays for every package."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from sprat_device import VERSION
from sprat_device.board import readers, stdio
from sprat_device.board.usage import CommandLine, folder
from sprat_device.contract.errors import SpratError

DEFAULT_STATE = "/var/lib/sprat"
_WIDEST = 44
"""Characters of a column of settings; a longer value moves its line."""
_DENIED: Final = "; put sudo before the command, or choose another place"
_REMEDIES: Final = {
    errno.EACCES: _DENIED, errno.EPERM: _DENIED, errno.ENOSPC: "; make room there",
    errno.EROFS: "; mount it writable, or choose another place",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    stdio.keep_places()

    def told() -> int:
        try:
            return _dispatch([a for a in arguments if a != "--debug"])
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


def _explain(exc: BaseException) -> int:
    """Print one line for an error, and return the exit code of its family."""
    match exc:
        case SpratError():
            said, code = str(exc), exc.exit_code
        case OSError():
            remedy = _REMEDIES.get(exc.errno or 0, "")
            said, code = f"{exc.filename or 'this machine'}: {exc.strerror or exc}{remedy}", 4
        case MemoryError():
            said, code = "not enough memory for this; end other programs, or do it on a larger machine", 4
        case KeyboardInterrupt():
            said, code = "interrupted", 130
        case _:
            said, code = f"a fault of Sprat ({type(exc).__name__}: {exc}); --debug shows where", 70
    print(f"sprat-device: {' '.join(said.split())}", file=sys.stderr)
    return code


def _dispatch(arguments: list[str]) -> int:
    # Programs of their own, with arguments of their own: they are also run without this entry.
    if arguments[:1] == ["check"]:
        from sprat_device.inference import check

        return check.main(arguments[1:])
    if arguments[:1] == ["infer"]:
        from sprat_device.inference import infer

        return infer.main(arguments[1:])
    if arguments[:1] == ["serve"]:
        from sprat_device import serve

        return serve.main(arguments[1:])
    if arguments[:1] == ["board"]:
        from sprat_device.board.upkeep import entry

        return entry.main(arguments[1:])
    parsed = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = parsed.run
    return run(parsed)


def _parser() -> CommandLine:
    parser = CommandLine(
        prog="sprat-device",
        description="The agent of Sprat: runs models, buffers telemetry, installs signed bundles.",
    )
    parser.notes = (
        "Exit codes: 0 done; 1 refused by a rule, with its reason code; 2 wrong use; 3 the hub is not reachable; 4 this "
        "machine lacks something; 70 a fault of Sprat; 130 interrupted; 141 nobody reads the output any more."
    )
    parser.example = "sprat-device enrol --hub https://hub.local:8443 --token sprat1.…"
    parser.add_argument("--version", action="version", version=f"sprat-device {VERSION}")
    parser.add_argument("--debug", action="store_true", help="show a traceback with an error")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    enrol = _command(commands, "enrol", _enrol, "get an identity; pin the hub and the signing root",
                     "sprat-device enrol --hub https://hub.local:8443 --token sprat1.…")  # fmt: skip
    enrol.add_argument("--hub", required=True, metavar="URL", help="address of the hub's device port")
    enrol.add_argument("--token", required=True, help="one-time token of `sprat enrol token`; - reads it from stdin")
    enrol.add_argument("--device", default="", metavar="NAME", help="the name to ask for")

    run = _command(commands, "run", _run, "run the agent until SIGTERM or SIGINT",
                   "sprat-device run --state /var/lib/sprat")  # fmt: skip
    run.add_argument("--show-settings", action="store_true", help="print every setting and where it came from")

    _command(
        commands,
        "status",
        _status,
        "what answers, installs, last errors, ledger, certificate and runtimes",
        "sprat-device status --json",
    )
    _command(commands, "runtimes", _runtimes, "whether each installed runtime works, by running a tiny artifact",
             "sprat-device runtimes --json")  # fmt: skip
    install = _command(commands, "install", _install, "install from a copied repository, with the same checks",
                       "sprat-device install /media/stick/repository")  # fmt: skip
    install.add_argument(
        "copy", type=Path, metavar="DIR|ARCHIVE", help="metadata/ and targets/: a folder, .zip or .tar"
    )
    defer = _command(commands, "defer", _defer, "put off every trial of a new bundle; what answers stays",
                     "sprat-device defer 8")  # fmt: skip
    defer.add_argument("hours", type=float, metavar="HOURS", help="hours from now; 0 ends it")
    commands.add_parser("check", help="golden set, latency and memory of a bundle on this device", add_help=False)
    commands.add_parser("infer", help="run a bundle over a file or a folder", add_help=False)
    commands.add_parser("serve", help="answer requests with a bundle, without a hub", add_help=False)
    commands.add_parser("board", help="set up, upgrade, replace or remove the agent on this board", add_help=False)
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], help_: str, example: str) -> Any:
    parser = commands.add_parser(name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.")
    parser.example = example
    state = os.environ.get("SPRAT_STATE", DEFAULT_STATE)
    parser.add_argument(
        "--state", type=folder, default=state, metavar="DIR", help="the device's state folder (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.set_defaults(run=run)
    return parser


def _say(parsed: argparse.Namespace, document: dict[str, Any], line: str) -> int:
    print(json.dumps(document) if parsed.json else line)
    return 0


def _enrol(parsed: argparse.Namespace) -> int:
    from sprat_device.board import owner
    from sprat_device.board.enrol import enrol

    owner.become(parsed.state)
    token = sys.stdin.readline() if parsed.token == "-" else parsed.token  # noqa: S105 - not a password
    found = enrol(parsed.hub, token, parsed.state, device=parsed.device)
    return _say(
        parsed,
        {"device": found.device, "channel": found.channel, "models": list(found.models)},
        f"enrolled as {found.device}, channel {found.channel}, models {', '.join(found.models) or 'none'}",
    )


def _run(parsed: argparse.Namespace) -> int:
    from sprat_device.board.signals import Signals

    # Before all that takes time: a SIGHUP that nobody takes is a program's end.
    signals = None if parsed.show_settings else Signals()
    if signals is not None:
        stdio.never_wait()
    from sprat_device.telemetry import lean

    lean.import_client()  # before anything else imports it
    from sprat_device import daemon
    from sprat_device.board import owner

    owner.become(parsed.state)
    if not parsed.show_settings:
        return daemon.run(parsed.state, signals)
    found = daemon.settings_of(parsed.state)
    document = {"settings": [{"setting": key, "value": value, "from": origin} for key, value, origin in found]}
    widths = [min(_WIDEST, max(len(entry[column]) for entry in found)) for column in (0, 1)]
    lines = (f"{key:{widths[0]}}  {value:{widths[1]}}  {origin}" for key, value, origin in found)
    return _say(parsed, document, "\n".join(lines))


def _status(parsed: argparse.Namespace) -> int:
    from sprat_device import status
    from sprat_device.board import owner

    owner.become(parsed.state)  # to look whether an agent runs makes its lock
    document = status.read(parsed.state)
    return _say(parsed, document, "\n".join(status.lines(document)))


def _runtimes(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    from sprat_device.inference.runtimes import health

    found = health.known(None)
    _say(parsed, {"runtimes": [asdict(each) for each in found]}, "\n".join(health.lines(found)))
    return 0 if any(each.ok for each in found) else 4


def _defer(parsed: argparse.Namespace) -> int:
    from sprat_device.board import identity, owner
    from sprat_device.board.clock import SystemClock
    from sprat_device.board.files import OsFiles
    from sprat_device.contract.errors import WrongUse
    from sprat_device.install import hours

    owner.become(parsed.state)
    identity.load(parsed.state)  # a wrong folder would be told of, and no agent would read it
    if not 0 <= parsed.hours * 3600 <= hours.LONGEST_S:
        raise WrongUse(f"defer: {parsed.hours:g} hours, expected 0 to {hours.LONGEST_S // 3600}")
    hours.defer(parsed.state, OsFiles(), SystemClock(), seconds=parsed.hours * 3600)
    line = f"no trial begins within the next {parsed.hours:g} h" if parsed.hours else "trials begin as their time comes"
    return _say(parsed, {"hours": parsed.hours}, line)


def _install(parsed: argparse.Namespace) -> int:
    from sprat_device.board import owner
    from sprat_device.inference.runtimes import health
    from sprat_device.install.offline import install_copy

    owner.become(parsed.state)
    done = install_copy(parsed.state, parsed.copy, runtimes=health.usable(health.known(parsed.state)))
    return _say(parsed, done, "\n".join(f"{model}: {what}" for model, what in done.items()) or "nothing to install")


if __name__ == "__main__":
    sys.exit(main())
