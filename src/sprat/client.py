"""The hub's API as typed methods, for commands, rehearsals and notebooks.

What the hub refuses comes back as the same family of error that it raised there; a hub that does not answer is
`HubUnreachable`. Over HTTPS the system's CAs count; for the hub's own CA set `SSL_CERT_FILE` to its `certs/ca.pem`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from sprat.errors import HubUnreachable, Refused, SpratError, WrongUse

_TIMEOUT_S: Final = 30.0
_UPLOAD_TIMEOUT_S: Final = 300.0
_LOOKS_S: Final = 0.2
_PAGE: Final = 10_000
_SUMMED: Final = ("produced", "stored", "quarantined", "evicted", "damaged", "duplicates", "missing", "surplus")

Document = dict[str, Any]


class HubClient:
    """One hub, spoken to with one API token."""

    def __init__(self, url: str, token: str = "", *, transport: httpx.BaseTransport | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise WrongUse(f"hub address {url!r}: expected http://HOST:PORT or https://…; set --hub or SPRAT_HUB")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=_TIMEOUT_S, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        """Show the fleet as a table in a notebook."""
        rows = "".join(
            f"<tr><td>{_escaped(d['id'])}</td><td>{_escaped(d['channel'])}</td><td>{'yes' if d['online'] else 'no'}</td></tr>"
            for d in self.devices()
        )
        return f"<table><tr><th>device</th><th>channel</th><th>online</th></tr>{rows}</table>"

    # The hub itself

    def status(self) -> Document:
        """Tell what the hub is and how its parts do."""
        return self._document("GET", "/api/hub")

    def audit(self, limit: int = 100) -> list[Document]:
        """Tell who did what, the newest first."""
        return self._list("GET", "/api/audit", params={"limit": limit})

    def make_api_token(self, name: str, role: str) -> str:
        """Make a token for a program."""
        return str(self._document("POST", "/api/api-tokens", json={"name": name, "role": role})["token"])

    # Devices

    def make_token(
        self, models: Sequence[str], *, channel: str, device: str = "", labels: Mapping[str, str] | None = None,
        ttl_s: int = 3600,
    ) -> Document:  # fmt: skip
        """Make a one-time token with which a device enrols."""
        wanted = {
            "models": list(models), "channel": channel, "device": device, "labels": dict(labels or {}), "ttl_s": ttl_s,
        }  # fmt: skip
        return self._document("POST", "/api/tokens", json=wanted)

    def tokens(self) -> list[Document]:
        """Tell which tokens were made and who used them."""
        return self._list("GET", "/api/tokens")

    def devices(
        self, *, labels: Mapping[str, str] | None = None, online: bool | None = None, revoked: bool = False
    ) -> list[Document]:
        """Tell who is in the fleet."""
        params: Document = {"label": [f"{name}={value}" for name, value in (labels or {}).items()], "revoked": revoked}
        if online is not None:
            params["online"] = online
        return self._list("GET", "/api/devices", params=params)

    def device(self, device: str) -> Document:
        """Tell everything of one device."""
        return self._document("GET", f"/api/devices/{_name(device)}")

    def revoke(self, device: str) -> None:
        """Put a device out of the fleet."""
        self._call("POST", f"/api/devices/{_name(device)}/revoke")

    def set_labels(self, device: str, labels: Mapping[str, str]) -> Document:
        """Replace the labels of a device."""
        return self._document("PUT", f"/api/devices/{_name(device)}/labels", json={"labels": dict(labels)})

    def set_settings(
        self,
        device: str,
        *,
        detail: str | None = None,
        daily_bytes: int | None = None,
        log_level: str = "",
        inputs: Mapping[str, str] | None = None,
    ) -> Document:
        """Tune a device's telemetry and log level, and switch its inputs `on` or `off`."""
        wanted = {"detail": detail, "daily_bytes": daily_bytes, "log_level": log_level, "inputs": dict(inputs or {})}
        return self._document("PUT", f"/api/devices/{_name(device)}/settings", json=wanted)

    def await_applied(self, device: str, desired: Document, *, timeout_s: float) -> Document | None:
        """Wait until a device tells that it holds a desired twin, and return what it reported; None if it does not in time.

        A device that is not connected is not waited for.
        """
        until = time.monotonic() + timeout_s
        while (found := self.device(device))["online"]:
            told: Document = found["reported"] or {}
            same = told.get("applied_incarnation") == desired["incarnation"]
            if same and told.get("applied_version", 0) >= desired["version"]:
                return told
            if time.monotonic() >= until:
                return None
            time.sleep(_LOOKS_S)
        return None

    def set_maintenance(
        self,
        device: str,
        *,
        windows: Sequence[str] = (),
        blackouts: Sequence[str] = (),
        utc_offset: str = "+00:00",
        defer_until: str = "",
    ) -> Document:
        """Ask a device to begin trials of new bundles only in these hours; nothing asks for none."""
        asked = {"windows": [*windows], "blackouts": [*blackouts], "utc_offset": utc_offset, "defer_until": defer_until}
        return self._document("PUT", f"/api/devices/{_name(device)}/maintenance", json=asked)

    # Publishing

    def online_key(self) -> Document:
        """Return the public key that signs snapshot and timestamp at the hub."""
        return self._document("GET", "/api/repository/online-key")

    def found_repository(self, metadata: Mapping[str, bytes]) -> Document:
        """Begin the hub's repository with metadata that offline keys signed."""
        text = {name: data.decode() for name, data in metadata.items()}
        return self._document("POST", "/api/repository", json={"metadata": text})

    def role(self, name: str) -> bytes:
        """Return the newest metadata of a role."""
        return self._call("GET", f"/api/repository/metadata/{_name(name)}").content

    def next_release_seq(self, model: str) -> int:
        """Return the number of the next release of a model."""
        return int(self._document("GET", f"/api/repository/next-release-seq/{_name(model)}")["release_seq"])

    def publish(
        self, channel: str, role: bytes, files: Mapping[str, Path], measured: Mapping[str, Mapping[str, Any]]
    ) -> list[Document]:
        """Send a signed channel role with its new bundles (target path -> file); returns what is newly listed."""
        with ExitStack() as opened:
            parts: list[tuple[str, Any]] = [("role", (f"{channel}.json", role))]
            parts += [("bundle", (path, opened.enter_context(file.open("rb")))) for path, file in files.items()]
            fields = {"channel": channel, "measured": json.dumps(measured)}
            return self._list("POST", "/api/releases", data=fields, files=parts, timeout=_UPLOAD_TIMEOUT_S)

    def releases(self, *, model: str = "", channel: str = "") -> list[Document]:
        """Tell which releases there are, the newest first."""
        return self._list("GET", "/api/releases", params={"model": model, "channel": channel})

    # Rollouts

    def plan_rollout(self, spec: Document) -> list[Document]:
        """Tell beforehand whom a rollout would reach, and who does not fit."""
        return self._list("POST", "/api/rollout-plans", json=spec)

    def create_rollout(self, spec: Document) -> Document:
        """Make a draft."""
        return self._document("POST", "/api/rollouts", json=spec)

    def rollouts(self) -> list[Document]:
        """Tell every rollout, the newest first."""
        return self._list("GET", "/api/rollouts")

    def rollout(self, rollout: str) -> Document:
        """Tell everything of one rollout."""
        return self._document("GET", f"/api/rollouts/{_name(rollout)}")

    def act_on_rollout(self, rollout: str, action: str) -> Document:
        """Start, pause, resume or abort a rollout."""
        return self._document("POST", f"/api/rollouts/{_name(rollout)}/{action}")

    # Telemetry

    def predictions(self, device: str, model: str = "", *, after: int = 0) -> list[Document]:
        """Return the stored predictions of a device, from the row after `after` to the newest."""
        found: list[Document] = []
        while True:
            params = {"device": device, "model": model, "after": after, "limit": _PAGE}
            rows = self._list("GET", "/api/telemetry/predictions", params=params)
            found += rows
            if len(rows) < _PAGE:
                return found
            after = rows[-1]["frame"]

    def ledger(self, device: str) -> dict[str, Document]:
        """Account for every record of a device: lane -> counts, summed over its epochs."""
        lanes: dict[str, Document] = {}
        for row in self._list("GET", "/api/telemetry/ledger", params={"device": device}):
            lane = lanes.setdefault(row["lane"], dict.fromkeys(_SUMMED, 0))
            for name in _SUMMED:
                lane[name] += row[name]
        return lanes

    def events(self, device: str = "", *, code: str = "", limit: int = 100) -> list[Document]:
        """Return events, the newest first."""
        return self._list("GET", "/api/telemetry/events", params={"device": device, "code": code, "limit": limit})

    def _document(self, method: str, path: str, **more: Any) -> Document:
        found = self._json(method, path, **more)
        if not isinstance(found, dict):
            raise HubUnreachable(f"{self.url}{path}: the answer is not of this version's hub; compare the versions")
        return found

    def _list(self, method: str, path: str, **more: Any) -> list[Document]:
        found = self._json(method, path, **more)
        if not isinstance(found, list):
            raise HubUnreachable(f"{self.url}{path}: the answer is not of this version's hub; compare the versions")
        return found

    def _json(self, method: str, path: str, **more: Any) -> object:
        answer = self._call(method, path, **more)
        try:
            return answer.json()
        except ValueError as exc:
            raise HubUnreachable(f"{self.url}{path}: this is not a hub's answer; check the address") from exc

    def _call(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError as exc:
            raise HubUnreachable(f"hub {self.url}: {exc}; does it run, and is the address right?") from exc
        if answer.is_success:
            return answer
        raise _refusal(answer, self.url)


def _refusal(answer: httpx.Response, url: str) -> SpratError:
    try:
        error = answer.json()["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return HubUnreachable(f"{url}: answered {answer.status_code}, not as a hub does; check the address")
    match answer.status_code:
        case 400 | 404 | 413 | 422:
            return WrongUse(message)
        case 401:
            return Refused(
                code, "the hub does not know this token; set SPRAT_TOKEN (`sprat hub init` wrote one to admin.token)"
            )
        case 403 | 409 | 429:
            return Refused(code, message)
        case 503:
            return HubUnreachable(message)
        case _:
            return SpratError(f"{url}: {message}")


def _escaped(text: object) -> str:
    return str(text).replace("&", "&amp;").replace("<", "&lt;")


def _name(text: str) -> str:
    return quote(text, safe="")
