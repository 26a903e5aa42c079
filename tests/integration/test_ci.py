"""The pipelines that `sprat init --ci` writes: parsed as the services do, and their very steps run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sprat import __version__, cli

pytestmark = pytest.mark.integration

PLACES = {"github": ".github/workflows/model.yml", "gitlab": ".gitlab-ci.yml"}
TREES = ["--template", "tabular"]


def _steps(service, text):
    """Return (environment, installation, shell commands, where results are kept)."""
    document = yaml.safe_load(text)
    if service == "gitlab":
        job = document["model"]
        assert job["artifacts"]["when"] == "always"
        return job["variables"], job["before_script"], job["script"], job["artifacts"]["paths"][0]
    job = document["jobs"]["build"]
    assert {"push", "pull_request"} == set(document[True])  # YAML 1.1 reads the key `on` as true
    runs = {step["name"]: step["run"] for step in job["steps"] if "run" in step}
    keeps = job["steps"][-1]
    assert keeps["if"] == "always()"
    return job["env"], [runs.pop("Install")], list(runs.values()), keeps["with"]["path"]


def _run(folder, commands, environment):
    """Run steps as a runner does: one shell each that stops at the first error; return the first code that is not 0."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command], cwd=folder, env={**os.environ, **environment, "PATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            return done.returncode, done.stderr
    return 0, ""


@pytest.mark.slow
@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_the_steps_build_keep_the_report_and_fail_on_a_gate(tmp_path, service):
    folder = tmp_path / "my-model"
    assert cli.main(["init", str(folder), *TREES, "--ci", service, "--quiet"]) == 0
    environment, install, commands, kept = _steps(service, (folder / PLACES[service]).read_text())
    assert install == [f'python -m pip install "sprat[compiler]=={__version__}"']
    assert _run(folder, commands, environment) == (0, "")
    assert (folder / kept / "report.html").is_file()
    assert len(list((folder / kept).rglob("*.sprat"))) == 1
    assert (folder / ".sprat" / "cache").is_dir()

    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("[gates]", "[gates]\nmax_latency_us = 0.001"))
    for path in (folder / kept).iterdir():
        path.unlink()
    code, said = _run(folder, commands, environment)
    assert code == 1
    assert "sprat: nothing-fits: " in said
    assert [path.name for path in (folder / kept).iterdir()] == ["report.html"]


def test_a_pipeline_joins_a_project_that_is_there_and_replaces_none(tmp_path, monkeypatch, capsys):
    (tmp_path / "recipe.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "--ci", "github"]) == 0
    written = tmp_path / PLACES["github"]
    assert yaml.safe_load(written.read_text())["name"] == "model"
    written.write_text("mine")
    assert cli.main(["init", ".", "--ci", "github"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert written.read_text() == "mine"


def test_an_unknown_service_is_wrong_use_and_leaves_nothing(tmp_path, capsys):
    assert cli.main(["init", str(tmp_path / "new"), "--ci", "jenkins"]) == 2
    assert "expected github or gitlab" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
