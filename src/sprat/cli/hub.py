"""`sprat hub`: make a hub, run it, ask how it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sprat.cli.connection import HubOption, connect
from sprat.cli.output import JsonFlag, Output, QuietFlag, noun

app = noun()

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the hub.")]


@app.command()
def init(
    folder: Folder,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="DNS name or address that devices reach it by; may be repeated.")
    ] = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make a hub: CA, certificates, online signing key, login.

    Example: sprat hub init ~/hub --name hub.example.org
    """
    from sprat.hub.founding import found, utc_now

    made = found(folder, name or [], utc_now())
    out = Output(json, quiet)
    document = {
        "folder": str(made.folder.root), "login": made.login, "password": made.password,
        "token_file": str(made.folder.admin_token),
    }  # fmt: skip
    out.say(f"made a hub in {made.folder.root}; start it with: sprat hub run {folder}")
    out.result(
        document,
        f"login     {made.login}",
        f"password  {made.password}   (shown this once)",
        f"API token in {made.folder.admin_token}; commands find it by: export SPRAT_TOKEN=$(cat {made.folder.admin_token})",
    )


@app.command()
def run(
    folder: Folder,
    console_port: Annotated[int, typer.Option(min=0, max=65535, help="Console and API; 0 takes a free one.")] = 8080,
    device_port: Annotated[int, typer.Option(min=0, max=65535, help="HTTPS of devices; 0 takes a free one.")] = 8443,
    mqtt_port: Annotated[int, typer.Option(min=0, max=65535, help="MQTT of devices; 0 takes a free one.")] = 8883,
    console_host: Annotated[str, typer.Option(help="Address of the console; not loopback means HTTPS.")] = "127.0.0.1",
    device_host: Annotated[
        str | None, typer.Option(help="Address for devices; all of the machine's if `hub init` was given a name.")
    ] = None,
    demo_broker: Annotated[
        bool,
        typer.Option("--demo-broker", help="Without mosquitto, take the iotcore package: loopback only, no rights."),
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run a hub until Ctrl-C: broker, ingest, API and console.

    Example: sprat hub run ~/hub --console-port 8080
    """
    from sprat.hub.app import Listen, run_until_told
    from sprat.hub.folder import HubFolder

    out = Output(json, quiet)

    def ready(addresses: dict[str, object]) -> None:
        out.result(
            addresses,
            f"console  {addresses['console_url']}",
            f"devices  {addresses['device_url']}",
            f"mqtt     {addresses['mqtt_host']}:{addresses['mqtt_port']}",
        )

    listen = Listen(console_host, console_port, device_host, device_port, mqtt_port, demo_broker)
    run_until_told(HubFolder.existing(folder), listen, ready)


@app.command()
def status(hub: HubOption = None, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Tell how the hub and its parts do.

    Example: sprat hub status --hub http://127.0.0.1:8080
    """
    with connect(hub) as client:
        found = client.status()
    broker, devices = found["broker"], found["devices"]
    out = Output(json, quiet)
    if broker["warning"]:
        out.warn(broker["warning"])
    out.result(
        found,
        f"hub      {found['name']}, version {found['version']}",
        f"broker   {broker['kind']} on {broker['host']}:{broker['port']}, {'up' if broker['alive'] else 'DOWN'}",
        f"devices  {devices['online']} of {devices['all']} online",
        f"signing  {'root is there' if found['signing_root'] else 'no root yet: sprat keys init --hub URL'}",
    )
