"""The story of the README: from digits on paper to three agents, a lost link, a forged bundle and a second release.

Each chapter works on the stage that the ones before it set, and leaves figures: what was seen, what was expected.
`ok` follows from those two and nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from sprat.lab import chapters
from sprat.lab.shell import Shell
from sprat.lab.stage import Reporter, Stage

CHAPTERS: Final[tuple[tuple[str, str, Callable[[Stage], None]], ...]] = (
    ("a", "Build: scanned digits become a model that fits a small computer", chapters.build),
    ("b", "Hub: a broker with TLS, an API and a console on this machine", chapters.start_hub),
    ("c", "Sign: keys, and the first release on the canary channel", chapters.sign),
    ("d", "Devices: three agents enrol, install, and answer as the build promised", chapters.install),
    ("e", "Lost link: one device goes on alone, and its ledger balances", chapters.lose_link),
    ("f", "Forged: a bundle with one flipped bit is offered", chapters.forge),
    ("g", "Again: a retrained release replaces the first on running agents", chapters.replace),
)


@contextmanager
def stage(
    folder: Path, models: Path, reporter: Reporter, *, device_python: Path | None, console_port: int
) -> Iterator[Stage]:
    """Set the stage in an empty folder and clear it afterwards: every process that was started is ended."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    env = {"SPRAT_KEY_PASSPHRASE": chapters.passphrase(), "SPRAT_KEYS_DIR": str(folder / "keys")}
    shell = Shell(reporter.say, env)
    set_stage = Stage(folder, models, device_python, console_port, shell, reporter)
    with ExitStack() as clearing:
        clearing.callback(set_stage.clear)
        yield set_stage


def tell(on: Stage) -> None:
    """Play all chapters."""
    for letter, title, play in CHAPTERS:
        on.chapter = letter
        on.reporter.chapter(f"{letter}. {title}")
        play(on)


def document(on: Stage) -> dict[str, Any]:
    """Return the figures as one plain document."""
    return {
        "schema": "sprat.demo/1",
        "ok": all(figure.ok for figure in on.figures),
        "console": on.fleet().run["console_url"],
        "login": {"name": on.fleet().login["login"], "password": on.fleet().login["password"]},
        "folder": str(on.folder),
        "figures": [asdict(figure) for figure in on.figures],
    }
