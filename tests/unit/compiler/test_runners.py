"""Runners that are not what they should be: each is the machine's lack, in one line."""

import numpy as np
import pytest

from sprat.compiler.runners import measure
from sprat.compiler.runners.running import RunnerFailed, runtimes_said
from sprat.errors import MachineLacks


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("echo hello", "(hello)"),
        ("echo '[1]'", "([1])"),
        ("echo 'no numpy' >&2; exit 1", "(no numpy)"),
        ("exit 1", "(exit code 1)"),
        ("exit 0", "(exit code 0)"),
    ],
)
def test_an_environment_that_tells_no_runtimes_is_to_be_made_again(tmp_path, program, said):
    python = tmp_path / "odd" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    with pytest.raises(MachineLacks) as caught:
        measure.environment(tmp_path, "odd").runtimes()
    assert said in str(caught.value)
    assert "sprat runtimes add" in str(caught.value)


def test_what_a_program_tells_is_read_alone_or_under_its_key():
    assert runtimes_said('{"onnx": "1.2"}') == {"onnx": "1.2"}
    assert runtimes_said(b'{"runtimes": {"onnx": "1.2"}}', key="runtimes") == {"onnx": "1.2"}
    assert runtimes_said('{"onnx": "1.2"}', key="runtimes") is None
    assert runtimes_said('{"onnx": 1}') is None


@pytest.mark.parametrize("written", ["echo junk >", "true"])
def test_answers_that_are_none_fail_one_candidate_not_the_build(tmp_path, written):
    python = tmp_path / "odd" / "bin" / "python"
    python.parent.mkdir(parents=True)
    place = '"$7"' if ">" in written else ""  # -m sprat_device infer BUNDLE INPUT --output FILE
    python.write_text(f"#!/bin/sh\n{written} {place}\n")
    python.chmod(0o755)
    with pytest.raises(RunnerFailed, match="runner env:odd: no answers came back"):
        measure.environment(tmp_path, "odd").infer(tmp_path / "b.sprat", {"x": np.zeros((1, 2))}, runtime="onnx")
