"""docs/pytorch.md, word for word: its export in a Python that has torch, its recipe in a build.

torch brings 5.6 GB on x86-64, so it is not among the test needs: this is skipped, in CI too, unless torch is installed
here or `SPRAT_TEST_TORCH_PYTHON` names a Python that has torch, onnx and onnxscript.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sprat import cli, load

pytestmark = pytest.mark.integration

PAGE = (Path(__file__).parents[2] / "docs" / "pytorch.md").read_text("utf-8")
PYTHON = os.environ.get("SPRAT_TEST_TORCH_PYTHON") or (sys.executable if importlib.util.find_spec("torch") else "")
TRAINED = 900
TRAIN = """
import numpy as np
import torch

torch.manual_seed(0)
rows = np.load("train.npz")
images, labels = torch.from_numpy(rows["image"]), torch.from_numpy(rows["label"])
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
    torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
    torch.nn.Flatten(), torch.nn.Dropout(0.2), torch.nn.Linear(128, 10),
)
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for _ in range(30):
    for batch in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
"""
ASK = """
with torch.no_grad():
    np.save("answers.npy", Answers(model)(torch.from_numpy(np.load("rows.npz")["image"])).numpy())
"""


def _block(language):
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[1]


@pytest.mark.skipif(not PYTHON, reason="torch is not installed; SPRAT_TEST_TORCH_PYTHON may name a Python that has it")
@pytest.mark.parametrize("external", [False, True])
def test_the_page_leads_from_torch_to_a_bundle_with_its_answers(tmp_path, capsys, monkeypatch, external):
    for name in ("RUNS", "DATA", "CACHE", "RUNTIMES"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name))
    found = load_digits()
    images = (found.images[:, None] / 16).astype(np.float32)
    np.savez(tmp_path / "train.npz", image=images[:TRAINED], label=found.target[:TRAINED])
    np.savez(tmp_path / "rows.npz", image=images[TRAINED:], label=found.target[TRAINED:].astype(str))
    export = _block("python").replace("external_data=False", f"external_data={external}")
    subprocess.run([PYTHON, "-c", TRAIN + export + ASK], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "given.onnx.data").exists() == external
    (tmp_path / "recipe.toml").write_text(_block("toml"))
    line = ["build", str(tmp_path), "--target", "generic-x86_64", "--out", str(tmp_path / "out"), "--json"]
    assert cli.main(line) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["research_metric"] > 0.9
    passed = {row["scheme"] for row in document["candidates"] if row["runtimes"]}
    assert {"given-onnx", "qdq-minmax-u8-pc"} <= passed
    answered = np.load(tmp_path / "answers.npy").argmax(1)
    with load(Path(document["bundles"][0]["path"])) as bundle:
        labels = np.array([int(one["label"]) for one in bundle.run({"image": images[TRAINED:]})])
    assert np.mean(labels == answered) > 0.97
