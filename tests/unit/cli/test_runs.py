"""Runs as they are kept: told apart by data, settings, code and versions, and explained in sentences."""

import json
from xml.etree import ElementTree as ET

import pytest

from sprat import cli
from sprat.cli import runs
from sprat.compiler.result import BuildResult, CandidateRow


def _document(metric, *, seed=1, data="aa" * 32, tensorflow="2.21.0", code="dd", chosen=True):
    row = CandidateRow(
        "pi", "int8", 1000, metric, 0.0, 1.0, 10.0, 100.0, ("litert",) if chosen else (), chosen, chosen,
        "" if chosen else "agreement: litert: agrees on 0.5 of the rows, expected 0.95",
    )  # fmt: skip
    facts = {
        "data_sha256": data, "recipe_sha256": "bb" * 32, "files": {"factory.py": code}, "seeds": {"train": seed, "split": 1}, "parameters": {"epochs": 3},
        "versions": {"tensorflow": tensorflow}, "python": "3.11.7", "research_metric": metric, "linear_yardstick": metric / 2,
        "search": {"trials": 5, "value": metric},
    }  # fmt: skip
    return BuildResult("m", "accuracy", metric, 0.5, (), (row,), facts=facts).document()


@pytest.fixture
def kept(tmp_path, monkeypatch):
    folder = tmp_path / "runs"
    monkeypatch.setenv("SPRAT_RUNS_DIR", str(folder))
    monkeypatch.setattr(runs.os, "getpid", iter(range(1, 9)).__next__)
    return lambda document: runs.record(folder, document)


def test_compare_names_what_differs_and_the_metric_of_each(kept, capsys):
    one = kept(_document(0.97))
    other = kept(_document(0.93, seed=2, data="cc" * 32, tensorflow="2.20.0", code="ee"))
    assert cli.main(["runs", "compare", one, other, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["metric"] for row in found["outcomes"]] == [0.97, 0.93]
    assert [(row["area"], row["what"], row["values"]) for row in found["differences"]] == [
        ("data", "data_sha256", ["aa" * 32, "cc" * 32]),
        ("settings", "seeds.train", ["1", "2"]),
        ("code", "files.factory.py", ["dd", "ee"]),
        ("versions", "versions.tensorflow", ["2.21.0", "2.20.0"]),
    ]
    assert cli.main(["runs", "compare", one, other]) == 0
    shown = capsys.readouterr().out
    assert "seeds.train" in shown
    assert "epochs" not in shown


def test_equal_runs_differ_in_nothing(kept, capsys):
    assert cli.main(["runs", "compare", kept(_document(0.97)), kept(_document(0.97))]) == 0
    assert "are the same" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["svg", "html"])
def test_the_plot_is_one_file_that_needs_no_other(kept, tmp_path, suffix):
    one, other = kept(_document(0.97)), kept(_document(0.93, seed=2))
    plot = tmp_path / f"plot.{suffix}"
    assert cli.main(["runs", "compare", one, other, "--plot", str(plot)]) == 0
    text = plot.read_text()
    ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])  # noqa: S314 - our own text
    assert one in text
    assert "prefers-color-scheme: dark" in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert ("seeds.train" in text) == (suffix == "html")


def test_a_run_where_nothing_passed_is_compared_and_explained(kept, capsys):
    good, bad = kept(_document(0.97)), kept(_document(0.97, chosen=False))
    assert cli.main(["runs", "compare", good, bad]) == 0
    assert "nothing passed" in capsys.readouterr().out
    assert cli.main(["runs", "explain", bad]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("pi: no candidate fits. To change: lower gates.min_agreement")
    assert "agrees on 0.5 of the rows" in second


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "{one}"], "found 1 run, expected two or more"),
        (["compare", "{one}", "nothing"], "run 'nothing': 0 runs in"),
        (["compare", "{one}", "{one}", "--plot", "x.png"], "found '.png', expected .svg or .html"),
        (["explain", "2"], "run '2': 2 runs in"),
    ],
)
def test_wrong_use_is_one_line(kept, capsys, arguments, said):
    one, _ = kept(_document(0.97)), kept(_document(0.97))
    assert cli.main(["runs", *(argument.format(one=one) for argument in arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_a_run_that_stopped_early_compares_and_draws_without_its_metric(kept, tmp_path, capsys):
    stopped = BuildResult("m", "accuracy", float("nan"), float("nan"), (), (), stopped="non-finite: answers").document()
    one, other = kept(_document(0.97)), kept(stopped)
    plot = tmp_path / "plot.svg"
    assert cli.main(["runs", "compare", one, other, "--plot", str(plot), "--json"]) == 0
    captured = capsys.readouterr()
    assert [row["metric"] for row in json.loads(captured.out)["outcomes"]] == [0.97, None]
    assert "NaN" not in captured.out
    assert "nan" not in plot.read_text()
