"""`sprat keys`: make and show the keys that sign releases."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sprat import settings as settings_
from sprat.cli.connection import HubOption, connect
from sprat.cli.output import JsonFlag, Output, QuietFlag, noun
from sprat.cli.passphrases import Asked, unencrypted
from sprat.cli.shelf import ONLINE_KEY, KeysOption, RepoOption
from sprat.errors import WrongUse

if TYPE_CHECKING:
    from sprat.publish.keys import KeyFolder, Passphrase

app = noun()


@app.command()
def init(
    hub: HubOption = None,
    repo: RepoOption = None,
    keys: KeysOption = None,
    simple: Annotated[bool, typer.Option("--simple", help="One key per role; thresholds can be raised later.")] = False,
    plain: Annotated[bool, typer.Option("--unencrypted", help="Protect the keys by their file mode alone.")] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make the signing keys and begin the signed repository.

    Keys that are there already are used as they are. The passphrase comes from SPRAT_KEY_PASSPHRASE, else it is asked.

    Example: sprat keys init --hub http://127.0.0.1:8080 --simple
    """
    settings = settings_.read({"hub": hub, "keys_dir": keys})
    out = Output(json, quiet)
    passphrase: Passphrase = unencrypted if plain else Asked(new=True)
    if repo is not None:
        made = _found_folder(settings.keys_dir, repo, passphrase, simple=simple)
    else:
        made = _found_hub(settings, hub, passphrase, simple=simple)
    document = _describe(made)
    out.result(document, f"signing keys in {made.folder}; keep a copy of that folder offline")
    out.table(
        ("role", "threshold", "keys"), [(r["role"], r["threshold"], ", ".join(r["keys"])) for r in document["roles"]]
    )


@app.command()
def show(keys: KeysOption = None, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Show the roles, their thresholds and key ids; nothing secret.

    Example: sprat keys show --keys ~/.config/sprat/keys
    """
    from sprat.publish.keys import KeyFolder

    document = _describe(KeyFolder.load(settings_.read({"keys_dir": keys}).keys_dir))
    out = Output(json, quiet)
    if json:
        out.emit_json(document)
    rows = [(r["role"], r["threshold"], name, r["ids"][name][:12]) for r in document["roles"] for name in r["keys"]]
    out.table(("role", "threshold", "key", "id"), rows)


def _found_hub(settings: settings_.Settings, hub: str | None, passphrase: Passphrase, *, simple: bool) -> KeyFolder:
    from sprat.publish.keys import parse_public
    from sprat.publish.repository import initial_metadata

    with connect(hub) as client:
        online = parse_public(client.online_key())  # asked first: a hub that is away leaves no keys behind
        made = _keys(settings.keys_dir, passphrase, simple=simple)
        client.found_repository(initial_metadata(made, online, passphrase=passphrase, now=datetime.now(UTC)))
    return made


def _found_folder(keys_dir: Path, repo: Path, passphrase: Passphrase, *, simple: bool) -> KeyFolder:
    from sprat.publish.keys import create_online_key, online_signer
    from sprat.publish.repository import create

    if (repo / "metadata").exists():
        raise WrongUse(f"{repo} holds a repository already; name another folder with --repo")
    made = _keys(keys_dir, passphrase, simple=simple)
    path = keys_dir / ONLINE_KEY
    if not path.exists():
        create_online_key(path)
    create(repo, made, online_signer(path), passphrase=passphrase, now=datetime.now(UTC))
    return made


def _keys(folder: Path, passphrase: Passphrase, *, simple: bool) -> KeyFolder:
    from sprat.publish.keys import INDEX, KeyFolder

    if (folder / INDEX).exists():
        return KeyFolder.load(folder)
    return KeyFolder.create(folder, passphrase=passphrase, simple=simple)


def _describe(made: KeyFolder) -> dict[str, Any]:
    return {
        "folder": str(made.folder),
        "roles": [
            {
                "role": name,
                "threshold": role.threshold,
                "keys": list(role.names),
                "ids": {key: made.keys[key].public.keyid for key in role.names},
            }
            for name, role in made.roles.items()
        ],
    }
