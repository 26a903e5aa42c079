"""`sprat-device serve`: a bundle, or what a state folder's slots hold, on demand and without a hub.

For development, and for a gateway that runs models for others. The same server and session as the agent's, but nothing
is recorded, installed or told to a hub. It ends with SIGTERM or SIGINT; the bundles are read once, at the start.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sprat_device.board import settings as settings_
from sprat_device.board import stdio
from sprat_device.board.files import OsFiles
from sprat_device.board.settings import DeviceSettings
from sprat_device.board.signals import Bell
from sprat_device.board.usage import CommandLine, folder
from sprat_device.contract.errors import AgentFault, BundleRefused, SpratError, WrongUse
from sprat_device.contract.phases import Reason
from sprat_device.inference.serve.inprocess import served
from sprat_device.inference.session import Session
from sprat_device.install.slots import Slots

_FLAGS: Final = ("listen", "token_file", "queue", "batch_wait_ms", "max_body_bytes", "time_limit_s")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parsed = _parser().parse_args(argv)
    try:
        return run(parsed)
    except SpratError as exc:
        sys.stderr.write(f"sprat-device serve: {' '.join(str(exc).split())}\n")
        return exc.exit_code


def run(parsed: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    stdio.never_wait()
    stopping = Bell()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.ring())
    with tempfile.TemporaryDirectory(prefix="sprat-serve-") as folder:
        scratch = Path(folder)
        # Without a state folder no file is read: nothing of an agent on this machine shall change what is served.
        settings = _settings(parsed, parsed.state or scratch)
        logging.basicConfig(
            level=settings.log_level.upper(), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
        )
        sessions = [
            (_opened(path, digest, scratch, parsed.runtime, settings), release_seq)
            for path, digest, release_seq in _bundles(parsed.bundles, parsed.state)
        ]
        defects: list[bool] = []

        def on_defect() -> None:
            defects.append(True)
            stopping.ring()

        with served(sessions, settings.serve, runtime=settings.runtime, on_defect=on_defect) as address:
            models = [str(session.manifest.model) for session, _ in sessions]
            line = f"{', '.join(models)} at {address}"
            print(json.dumps({"address": address, "models": models}) if parsed.json else line, flush=True)  # noqa: T201 - the command's output
            stopping.wait()
    if defects:
        raise AgentFault("a thread ended by a defect, which the log above tells; start it anew")
    return 0


def _settings(parsed: argparse.Namespace, folder: Path) -> DeviceSettings:
    flags: dict[str, object] = {f"serve.{name}": getattr(parsed, name) for name in _FLAGS}
    flags |= {"serve.exposed": parsed.exposed or None, "runtime.threads": parsed.threads}
    return settings_.load(folder, environment=os.environ, flags=flags)


def _opened(path: Path, digest: str, scratch: Path, runtime: str | None, settings: DeviceSettings) -> Session:
    """Return the session of a bundle; BundleRefused for an installed one that is not the one which was verified."""
    session = Session.open(path, cache=scratch, runtime=runtime, settings=settings.runtime)
    if digest and session.bundle_digest != digest:
        raise BundleRefused(
            Reason.HASH_MISMATCH,
            f"{path.name} has SHA-256 {session.bundle_digest[:12]}…; it is damaged, and a running agent fetches it again",
        )
    return session


def _bundles(named: Sequence[Path], state: Path | None) -> Sequence[tuple[Path, str, int]]:
    """Return the bundles to serve with digest and release number; none and 0 for a file that was never released."""
    if bool(named) == (state is not None):
        raise WrongUse("found both or neither of BUNDLE and --state, expected one of them")
    if state is None:
        return [(path, "", 0) for path in named]
    slots = Slots(OsFiles(), state)
    active = [slots.load(path.stem).active for path in sorted((state / "slots").glob("*.json"))]
    found = [(slots.path(held.bundle), held.bundle, held.release_seq) for held in active if held is not None]
    if not found:
        raise WrongUse(f"{state}: no model has an installed bundle; install one, or name a BUNDLE")
    return found


def _parser() -> CommandLine:
    parser = CommandLine(
        prog="sprat-device serve",
        description="Answer requests with a bundle, or with the bundles of a state folder, without a hub.",
    )
    parser.example = "sprat-device serve digits.sprat --listen 127.0.0.1:8178"
    parser.add_argument("bundles", type=Path, nargs="*", metavar="BUNDLE", help=".sprat files, one for each model")
    parser.add_argument(
        "--state", metavar="DIR", type=folder, help="serve what this folder's slots hold, by its sprat.toml"
    )
    parser.add_argument(
        "--listen", metavar="ADDRESS", help="HOST:PORT, [IPV6]:PORT or unix:/PATH; port 0 is any free one"
    )
    parser.add_argument("--exposed", action="store_true", help="allow an address that other machines reach")
    parser.add_argument("--token-file", metavar="FILE", help="file whose text a client sends as its Bearer token")
    parser.add_argument("--queue", metavar="N", type=int, help="rows that may wait for one model")
    parser.add_argument("--batch-wait-ms", metavar="MS", type=float, help="wait so long for more rows of a batch")
    parser.add_argument("--max-body-bytes", metavar="BYTES", type=int, help="most bytes of one request")
    parser.add_argument("--time-limit-s", metavar="S", type=float, help="longest wait for an answer")
    parser.add_argument(
        "--runtime", metavar="NAME", help="tflite, litert or onnx; default: the bundle's first that is installed"
    )
    parser.add_argument("--threads", metavar="N", type=int, help="threads of the runtime")
    parser.add_argument("--json", action="store_true", help="print the address as a JSON document")
    return parser


if __name__ == "__main__":
    sys.exit(main())
