"""Small real things that many tests need: bundles, keys, a signed repository, and a server in front of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from sprat.publish import keys as signing
from sprat.publish.bundle import write_bundle
from sprat.publish.repository import Repository, create, prepare_release
from sprat_device.contract.bundle import Baseline, GoldenSet
from sprat_device.contract.ids import Channel, Digest, ModelName
from sprat_device.contract.manifest import Artifact, Format, Golden, Manifest, Task, TensorSpec, Tolerance

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def no_passphrase(_name: str) -> str:
    return ""


def bundle(
    path: Path,
    *,
    model: str = "digits",
    target: str = "generic",
    fill: bytes = b"one",
    size: int = 2000,
    runtimes: Mapping[str, str] | None = None,
) -> Path:
    """Write a bundle whose artifact no runtime can load: enough for signing and installing, not for inference."""
    artifact = (fill * size)[:size]
    golden = GoldenSet({"x": np.ones((2, 3), np.float32)}, {"litert": {"y": np.ones((2, 2), np.float32)}})
    baseline = Baseline({"x": np.array([0.0, 1.0])}, {"x": np.array([1, 2, 3])}, np.array([1, 1]))
    manifest = Manifest(
        model=ModelName(model),
        target=target,
        task=Task.CLASSIFICATION,
        artifact=Artifact("model.tflite", Format.TFLITE, _sha(artifact), len(artifact), "float32"),
        inputs=(TensorSpec("x", "float32", (1, 3)),),
        outputs=(TensorSpec("y", "float32", (1, 2), meaning="probabilities"),),
        labels=("a", "b"),
        runtimes=dict(runtimes or {"litert": "1.0"}),
        golden=Golden(2, _sha(golden.dump()), {"litert": Tolerance("absolute", 1e-5)}, {"litert": "2.0"}),
        baseline_sha256=_sha(baseline.dump()),
        provenance={},
    )
    write_bundle(path, manifest=manifest, artifact=artifact, golden=golden, baseline=baseline, card="a card")
    return path


class Publisher:
    """Keys, a repository and the steps of a release, as a workstation with a local folder has them."""

    def __init__(self, folder: Path, *, simple: bool = True, now: datetime | None = None) -> None:
        self.folder = folder
        self.now = now
        self.keys = signing.KeyFolder.create(folder / "keys", passphrase=no_passphrase, simple=simple)
        signing.create_online_key(folder / "keys" / "online.pem")
        self.online = signing.online_signer(folder / "keys" / "online.pem")
        self.repository = create(
            folder / "repository", self.keys, self.online, passphrase=no_passphrase, now=self.time(), fixed_now=now
        )

    def time(self) -> datetime:
        return self.now or datetime.now(UTC)

    def at(self, now: datetime) -> Repository:
        """Return the repository as it is at another time."""
        return Repository(self.folder / "repository", self.online, now=now)

    def release(
        self, bundle_path: Path, *, channel: str = "canary", number: int = 0, measured: Mapping[str, Any] | None = None
    ) -> str:
        """Publish one bundle and return its target path."""
        prepared = prepare_release(
            self.repository.role_bytes(channel),
            [(bundle_path, measured or {})],
            channel=Channel(channel),
            release_seq=number or self.repository.next_release_seq("digits"),
            signers=self.keys.signers(channel, passphrase=no_passphrase),
            now=self.time(),
        )
        self.repository.accept(channel, prepared.role, prepared.files)
        return next(iter(prepared.files))


def _sha(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())
