"""`[drift]`, `[capture]` and `[shadow]`: what stands in a file or the environment, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sprat_device.board.settings import load
from sprat_device.contract.errors import WrongUse


def test_captures_are_off_and_shadows_small_unless_a_file_says_otherwise(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert (found.capture.enabled, found.capture.hub_may_tune) == (False, False)
    assert (found.shadow.enabled, found.shadow.cpu_share) == (True, 0.1)
    assert (found.drift.readings, found.drift.psi) == (10_000, 0.25)


def test_they_are_read_from_a_file_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "sprat.toml").write_text(
        '[capture]\nenabled = true\nlabels = ["leak, large", "fire"]\nshare_random = 0.5\n'
        "[shadow]\nenabled = false\n[drift]\nreadings = 0\n"
    )
    found = load(tmp_path, environment={"SPRAT_CAPTURE_REDACT": "faces, plates", "SPRAT_SHADOW_CPU_SHARE": "0.25"})
    assert (found.capture.enabled, found.capture.labels) == (True, ("leak, large", "fire"))
    assert (found.capture.redact, found.capture.share_random) == (("faces", "plates"), 0.5)
    assert (found.shadow.enabled, found.shadow.cpu_share, found.drift.readings) == (False, 0.25, 0)
    shown = {key: value for key, value, _origin in found.describe()}
    assert shown["capture.redact"] == "faces, plates"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[capture]\nlabels = [3]\n", "a list of texts"),
        ("[capture]\nlabels = 3\n", "a list of texts"),
        ("[capture]\nrandom_rate = 2\n", "a number from 0 to 1"),
        ("[capture]\nenable = true\n", "did you mean"),
        ("[shadow]\ncpu_share = 0\n", "a number from 0.001 to 1"),
        ("[shadow]\nmemory_bytes = 1000\n", "an integer from 16777216"),
        ("[drift]\npsi = 0\n", "a number from 0.01"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "sprat.toml").write_text(text)
    with pytest.raises(WrongUse, match=told):
        load(tmp_path)
