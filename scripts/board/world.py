"""What stands around the virtual board, on this host: a real hub with a real mosquitto, a wheelhouse, two releases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from image import HUB_NAME
from scripts.arm.rows import Table

from sprat.lab.chapters import passphrase
from sprat.lab.parts import LabHub, wait_for
from sprat.lab.shell import Shell
from sprat_device.contract.phases import RolloutPhase

ROOT: Final = Path(__file__).parents[2]
MODEL: Final = "digits"
CHANNEL: Final = "canary"
TARGET: Final = "generic-x86_64"
FIRST: Final = "int8-full"
SECOND: Final = "float32"
_ENDED: Final = (RolloutPhase.COMPLETED, RolloutPhase.ABORTED, RolloutPhase.PAUSED)


@dataclass(frozen=True, slots=True)
class World:
    """The hub and what was built for its board."""

    shell: Shell
    hub: LabHub
    work: Path
    bundles: dict[str, dict[str, Any]]
    house: Path

    @property
    def ports(self) -> tuple[int, int]:
        """Return the ports that the board may reach: HTTPS and MQTT."""
        return int(self.hub.run["device_url"].rsplit(":", 1)[1]), int(self.hub.run["mqtt_port"])

    @property
    def rows(self) -> Path:
        """Return held-out inputs of the model."""
        return Path(self.bundles[FIRST]["test_set"])

    def token(self, device: str) -> dict[str, Any]:
        """Return what `sprat enrol token` prints for a device."""
        return self.shell.sprat("enrol", "token", "--device", device, "--channel", CHANNEL, "--model", MODEL)

    def release(self, scheme: str) -> int:
        """Publish a bundle and return the release's number."""
        told = self.shell.sprat("release", self.bundles[scheme]["path"], "--channel", CHANNEL)
        return int(told["releases"][0]["release_seq"])

    def begin_rollout(self, release: int) -> str:
        """Offer a release to the board and return the rollout's id."""
        told = self.shell.sprat(
            "rollout", "start", f"{MODEL}@{release}", "--channel", CHANNEL, "--wave", "100%",
            "--healthy", "40", "--deadline", "1200",
        )  # fmt: skip
        return str(told["id"])

    def ended(self, rollout: str, *, timeout_s: float) -> str:
        """Wait until a rollout has ended and return how."""

        def done() -> str | None:
            phase = str(self.hub.client.rollout(rollout)["phase"])
            return phase if phase in _ENDED else None

        return wait_for("rollout", done, timeout_s=timeout_s)

    def reported(self, device: str) -> dict[str, Any]:
        """Return the device's last report."""
        found: dict[str, Any] = self.hub.client.device(device)["reported"]
        return found

    def predictions(self, device: str) -> list[dict[str, Any]]:
        """Return every prediction that the hub has of a device, in the order of their frames."""
        rows: list[dict[str, Any]] = self.hub.client.predictions(device, MODEL)
        return sorted(rows, key=_place)

    def runs(self, device: str) -> list[list[dict[str, Any]]]:
        """Return the predictions of each start of its agent: each counts them from 0."""
        runs: list[list[dict[str, Any]]] = []
        for row in self.predictions(device):
            if row["index"] == 0 or not runs:
                runs.append([])
            runs[-1].append(row)
        return runs

    def stored(self, device: str) -> int:
        """Return how many predictions of a device the hub has stored."""
        return int(self.hub.client.ledger(device).get("predictions", {}).get("stored", 0))

    def await_more(self, device: str, count: int, *, timeout_s: float = 240) -> int:
        """Wait until the hub has so many more predictions, and return how many it has."""
        before = self.stored(device)
        return wait_for(
            f"{count} predictions more of {device}",
            lambda: found if (found := self.stored(device)) >= before + count else None,
            timeout_s=timeout_s,
        )


def _place(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["epoch"], row["seq"], row["index"]


@contextmanager
def world(work: Path, table: Table) -> Iterator[World]:
    """Run a hub until the end; bundles and wheelhouse are built by the commands of users."""
    env = {"SPRAT_KEY_PASSPHRASE": passphrase(), "SPRAT_KEYS_DIR": str(work / "keys")}
    shell = Shell(lambda _line: None, env)
    hub = LabHub.start(shell, work / "hub", name=HUB_NAME)
    try:
        env.update(SPRAT_HUB=hub.run["console_url"], SPRAT_TOKEN=hub.token)
        table.show("host", "broker", hub.client.status()["broker"]["kind"], expected="mosquitto")
        shell.sprat("keys", "init", "--simple")
        house = shell.sprat(
            "wheelhouse", "--target", TARGET, "--runtime", "tflite", "--out", str(hub.folder / "wheelhouses")
        )
        bundles = {scheme: _build(shell, scheme, work) for scheme in (FIRST, SECOND)}
        yield World(shell, hub, work, bundles, Path(house["folder"]))
    finally:
        hub.stop()


def _build(shell: Shell, scheme: str, work: Path) -> dict[str, Any]:
    built = shell.sprat(
        "build", str(ROOT / "models" / MODEL), "--target", TARGET, "--set", f'schemes=["{scheme}"]',
        "--out", str(work / f"built-{scheme}"),
    )  # fmt: skip
    found: dict[str, Any] = built["bundles"][0]
    return found
