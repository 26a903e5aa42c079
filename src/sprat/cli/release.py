"""`sprat release`, `promote`, `withdraw` and `rollback`: sign what a channel lists, and hand it to a hub or a folder."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sprat import settings as settings_
from sprat.cli.connection import HubOption
from sprat.cli.output import JsonFlag, Output, QuietFlag
from sprat.cli.passphrases import Asked
from sprat.cli.shelf import KeysOption, Measured, RepoOption, Shelf, open_shelf
from sprat.errors import WrongUse
from sprat_device.contract.ids import Channel, ModelName, model_name
from sprat_device.contract.ids import channel as parse_channel

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

    from sprat.publish.repository import Listed, Prepared

MEASURED: Final = "measured.json"
Named = Annotated[str, typer.Argument(metavar="MODEL@SEQ", help="The release, such as digits@3.")]


def release(
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE…", help="Bundles of one model, one per target.")],
    channel: Annotated[str, typer.Option(help="The channel to publish to.")],
    hub: HubOption = None,
    repo: RepoOption = None,
    keys: KeysOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Sign bundles with the channel's key and publish them under the model's next number.

    What the build measured is taken from the measured.json beside each bundle.

    Example: sprat release out/digits-generic-x86_64.sprat --channel canary --hub http://127.0.0.1:8080
    """
    from sprat.publish.repository import prepare_release

    out = Output(json, quiet)
    name = parse_channel(channel)
    sources = [(path, _measured(path, out)) for path in bundles]
    with _desk(hub, repo, keys) as (shelf, signers):
        number = shelf.next_release_seq(_model_of(bundles[0]))
        prepared = prepare_release(
            shelf.role(name), sources, channel=name, release_seq=number, signers=signers(name), now=_now()
        )
        by_bundle = dict(sources)
        _publish(shelf, prepared, out, measured={path: by_bundle[file] for path, file in prepared.files.items()})


def promote(
    named: Named,
    to: Annotated[str, typer.Option("--to", help="The channel that shall list it too.")],
    hub: HubOption = None,
    repo: RepoOption = None,
    keys: KeysOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Sign the same bytes under the same number for another channel.

    Example: sprat promote digits@3 --to stable
    """
    from sprat.publish.repository import prepare_promotion

    model, number = _release_of(named)
    name = parse_channel(to)
    with _desk(hub, repo, keys) as (shelf, signers):
        found = _of_one_channel([one for one in shelf.listing() if one.key[:2] == (model, number)])
        prepared = prepare_promotion(shelf.role(name), found, channel=name, signers=signers(name), now=_now())
        _publish(shelf, prepared, Output(json, quiet))


def withdraw(
    named: Named,
    channel: Annotated[str, typer.Option(help="Only from this channel; default: from every one that lists it.")] = "",
    hub: HubOption = None,
    repo: RepoOption = None,
    keys: KeysOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Stop offering a release; devices that run it keep it.

    Example: sprat withdraw digits@3 --channel canary
    """
    from sprat.publish.repository import prepare_withdrawal

    model, number = _release_of(named)
    out = Output(json, quiet)
    with _desk(hub, repo, keys) as (shelf, signers):
        listing = {one.channel for one in shelf.listing() if one.key[:2] == (model, number)}
        channels = sorted(listing & {channel} if channel else listing)
        if not channels:
            raise WrongUse(f"release {named} is not listed{f' in {channel!r}' if channel else ''}; nothing to withdraw")
        for name in channels:
            prepared = prepare_withdrawal(
                shelf.role(name), channel=name, model=model, release_seq=number, signers=signers(name), now=_now()
            )
            shelf.publish(prepared, {})
    out.result({"withdrawn": named, "channels": channels}, f"{named} is withdrawn from {', '.join(channels)}")


def rollback(
    channel: Annotated[str, typer.Argument(help="The channel to take back.")],
    to: Annotated[int, typer.Option("--to", min=1, help="The release whose bytes shall run again.")],
    model: Annotated[str, typer.Option(help="The model; needed where the channel lists several.")] = "",
    hub: HubOption = None,
    repo: RepoOption = None,
    keys: KeysOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Publish old bytes under a new number that takes the channel's newest release back.

    Example: sprat rollback stable --to 7
    """
    from sprat.publish.repository import prepare_promotion

    name = parse_channel(channel)
    with _desk(hub, repo, keys) as (shelf, signers):
        listing = shelf.listing()
        which = _only_model([one for one in listing if one.channel == name], model)
        newest = max(one.release.release_seq for one in listing if one.channel == name and one.release.model == which)
        if to >= newest:
            raise WrongUse(f"release {to} is not older than {newest}, the newest of {which!r} in {name!r}")
        old = _of_one_channel([one for one in listing if one.key[:2] == (which, to)])
        prepared = prepare_promotion(
            shelf.role(name), old, channel=name, signers=signers(name), now=_now(),
            release_seq=shelf.next_release_seq(which), rollback_of=newest,
        )  # fmt: skip
        _publish(shelf, prepared, Output(json, quiet))


@contextmanager
def _desk(hub: str | None, repo: Path | None, keys: Path | None) -> Iterator[tuple[Shelf, Any]]:
    """Open where to publish, and give the signers of a channel."""
    from sprat.publish.keys import KeyFolder

    settings = settings_.read({"hub": hub, "keys_dir": keys})
    folder = KeyFolder.load(settings.keys_dir)
    asked = Asked()
    shelf = open_shelf(settings, repo)

    def signers(channel: Channel) -> list[Signer]:
        return folder.signers(channel, passphrase=asked)

    try:
        yield shelf, signers
    finally:
        shelf.close()


def _publish(shelf: Shelf, prepared: Prepared, out: Output, measured: Measured | None = None) -> None:
    shelf.publish(prepared, measured or {})
    new = [
        one
        for one in shelf.listing()
        if one.channel == prepared.channel and one.key[:2] == (prepared.model, prepared.release_seq)
    ]
    document = {
        "releases": [
            {
                "model": one.release.model,
                "release_seq": one.release.release_seq,
                "target": one.release.target,
                "channel": one.channel,
                "bundle": one.bundle,
                "bytes": one.length,
                "rollback_of": one.release.rollback_of,
            }
            for one in new
        ]
    }
    lines = [
        f"{one.release.model}@{one.release.release_seq} for {one.release.target} is listed in {one.channel} "
        f"({one.length} bytes, {one.bundle[:12]})"
        for one in new
    ]
    out.result(document, *lines)


def _measured(bundle: Path, out: Output) -> dict[str, Any]:
    """Return what the build measured of this very bundle, or nothing."""
    from sprat.publish.bundle import digest_of

    if not bundle.is_file():
        raise WrongUse(f"{bundle}: no such bundle; build one with: sprat build RECIPE --out DIR")
    path = bundle.with_name(MEASURED)
    if not path.exists():
        out.warn(f"no {MEASURED} beside {bundle}: memory and arch are not signed, so no device can be refused by them")
        return {}
    try:
        found = json_.loads(path.read_bytes())
    except ValueError as exc:
        raise WrongUse(f"{path}: not JSON ({exc}); build again") from exc
    if not isinstance(found, dict) or found.get("bundle") != digest_of(bundle):
        raise WrongUse(f"{path} is of another bundle than {bundle.name}; build again or move it away")
    return found


def _model_of(bundle: Path) -> ModelName:
    from sprat_device.contract import bundle as bundles

    with bundle.open("rb") as file, bundles.read(file) as opened:
        return opened.manifest.model


def _release_of(named: str) -> tuple[ModelName, int]:
    model, mark, number = named.partition("@")
    if not mark or not number.isdigit() or int(number) < 1:
        raise WrongUse(f"release {named!r}: expected MODEL@SEQ, such as digits@3")
    return model_name(model), int(number)


def _of_one_channel(found: Sequence[Listed]) -> list[Listed]:
    """Return the entries of the first channel that lists the release; the bytes are the same in all."""
    if not found:
        raise WrongUse("no channel lists this release any more; release the bundle again")
    return [one for one in found if one.channel == found[0].channel]


def _only_model(listed: Sequence[Listed], model: str) -> ModelName:
    models = sorted({one.release.model for one in listed})
    if model:
        models = [one for one in models if one == model]
    if len(models) != 1:
        raise WrongUse(f"name the model with --model; the channel lists {', '.join(models) or 'none such'}")
    return models[0]


def _now() -> datetime:
    return datetime.now(UTC)
