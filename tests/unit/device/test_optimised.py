"""The unit runs the agent without assertions and docstrings (python -OO): no line may rely on either."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import sprat_device

SOURCES = sorted(Path(sprat_device.__file__).parent.rglob("*.py"))


def test_no_line_rests_on_an_assertion_or_a_docstring() -> None:
    assert len(SOURCES) > 100
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                found.append(f"{path.name}:{node.lineno}: assert")
            if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node).endswith("__doc__"):
                found.append(f"{path.name}:{node.lineno}: __doc__")
    # These two say their purpose in --help, and say nothing where it is not there.
    assert [entry for entry in found if not entry.startswith(("updater.py", "program.py"))] == []


def test_every_program_begins_without_docstrings() -> None:
    for program in ("sprat_device", "sprat_device.install.updater", "sprat_device.inference.shadowing.program"):
        done = subprocess.run(
            [sys.executable, "-OO", "-m", program, "--help"], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
