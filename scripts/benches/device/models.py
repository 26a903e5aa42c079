"""The bundles that the device's parts run: ResNet-8 and digits, int8, built as a user builds them."""

from __future__ import annotations

import sys
from pathlib import Path

import drops

from sprat import settings
from sprat.compiler.build import build
from sprat.compiler.result import BuildResult

TARGET = "generic-x86_64"


def resnet8(folder: Path) -> Path:
    """Build ResNet-8 and return its bundle."""
    recipe = folder / "resnet8"
    recipe.mkdir()
    (recipe / "recipe.toml").write_text(drops.RESNET8_RECIPE)
    (recipe / "factory.py").write_text(drops.RESNET8)
    return _bundle(_build(recipe, folder / "built-resnet8"))


def digits(folder: Path) -> tuple[Path, Path]:
    """Build digits; return its bundle and its test rows."""
    built = _build(drops.MODELS / "digits", folder / "built-digits")
    return _bundle(built), _test_rows(built)


def _build(recipe: Path, out: Path, *overrides: str) -> BuildResult:
    return build(
        recipe, out=out, overrides=(*overrides, *drops.OPEN, drops.INT8), targets=[TARGET],
        settings=settings.read(), say=lambda line: print(f"   {line}", file=sys.stderr),
    )  # fmt: skip


def _bundle(built: BuildResult) -> Path:
    return built.bundles[0].path


def _test_rows(built: BuildResult) -> Path:
    return built.bundles[0].test_set
