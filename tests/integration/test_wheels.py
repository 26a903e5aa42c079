"""The wheel holds what the source tree has: a checkout hides what a user's installation would lack."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_every_module_template_asset_model_and_target(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("sprat-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    source = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src/sprat").rglob("*") if p.is_file()}
    wanted = {name for name in source if "__pycache__" not in name}
    wanted |= {f"sprat/targets/{p.name}" for p in (ROOT / "models/targets").glob("*.toml")}
    wanted |= {f"sprat/models/{m}/recipe.toml" for m in ("digits", "gait", "motion", "occupancy", "wakeword")}
    assert wanted - held == set()
