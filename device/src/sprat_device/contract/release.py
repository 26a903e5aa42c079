"""What the signed entry of a release says (TUF `custom`), schema `sprat.release/1`.

It must agree with the manifest inside the bundle. It says nothing about who gets the release, or when: that is the
hub's word, and the hub is not trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sprat_device.contract.errors import BundleRefused, ContractError
from sprat_device.contract.fields import Fields, anything, text
from sprat_device.contract.ids import ModelName, model_name
from sprat_device.contract.manifest import Manifest
from sprat_device.contract.phases import Reason

SCHEMA: Final = "sprat.release/1"
ISSUED: Final = "issued"
"""The field of a signed timestamp that says when it was made (ISO 8601, UTC): a device's only trusted time."""


@dataclass(frozen=True, slots=True)
class Release:
    """The signed facts of one release for one target; sizes in KiB."""

    model: ModelName
    target: str
    release_seq: int
    input_sig: str
    runtimes: Mapping[str, str]
    """Runtime name -> minimum version: any one of them is enough."""
    arch: tuple[str, ...]
    """`platform.machine()` names that may run it; empty means any."""
    ram_peak_kib: int
    flash_kib: int
    min_release_seq: int = 0
    rollback_of: int = 0
    """The release that this one takes back; 0 for an ordinary one."""
    cpu_features: tuple[str, ...] = ()
    deltas: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """Return the plain mapping that is signed."""
        plain = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items() if key != "extra"}
        return {**self.extra, "schema": SCHEMA, **plain}


def parse(raw: object) -> Release:
    """Read the signed mapping; an unknown schema is refused, not guessed at."""
    fields = Fields(raw, "release")
    if fields.text("schema", default="", max_length=64) != SCHEMA:
        raise BundleRefused(Reason.UNKNOWN_SCHEMA, f"release: schema is not {SCHEMA}; upgrade the agent")
    release = Release(
        model=fields.value("model", model_name),
        target=fields.value("target", model_name),
        release_seq=fields.integer("release_seq", minimum=1),
        input_sig=fields.text("input_sig", max_length=64),
        runtimes=fields.mapping("runtimes", text),
        arch=fields.items("arch", text),
        ram_peak_kib=fields.integer("ram_peak_kib"),
        flash_kib=fields.integer("flash_kib"),
        min_release_seq=fields.integer("min_release_seq", default=0),
        rollback_of=fields.integer("rollback_of", default=0),
        cpu_features=fields.items("cpu_features", text, default=()),
        deltas=fields.mapping("deltas", anything, default={}),
        measured=fields.mapping("measured", anything, default={}),
        extra=fields.rest(),
    )
    if not release.runtimes:
        raise ContractError("release.runtimes: must name at least one")
    return release


def require_agreement(release: Release, manifest: Manifest) -> None:
    """Raise BundleRefused unless the signed entry and the manifest inside the bundle say the same."""
    said = (release.model, release.target, release.input_sig, dict(release.runtimes))
    inside = (manifest.model, manifest.target, manifest.input_sig, dict(manifest.runtimes))
    for what, signed, found in zip(("model", "target", "input_sig", "runtimes"), said, inside, strict=True):
        if signed != found:
            raise BundleRefused(
                Reason.MANIFEST_MISMATCH, f"{what}: signed entry says {signed!r}, the manifest {found!r}"
            )
