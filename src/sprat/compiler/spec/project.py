"""Finds what a build is made from: the recipe with its folder, and the targets that it names."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sprat.compiler.spec import beside
from sprat.compiler.spec import recipe as recipes
from sprat.compiler.spec import target as targets
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.spec.target import Target
from sprat.errors import RecipeError
from sprat.settings import unknown_key

_PACKAGED: Final = Path(__file__).parents[2] / "targets"
_SOURCE_TREE: Final = Path(__file__).parents[4] / "models" / "targets"
_PACKAGE: Final = "package:"
_MAX_FOLDER_FILES: Final = 1000


@dataclass(frozen=True, slots=True)
class Project:
    """A recipe with the folder that it stands in; the digest covers every source file of that folder."""

    recipe: Recipe
    folder: Path
    sha256: str
    overrides: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the recipe and of each code file beside it."""

    def file(self, name: str) -> Path:
        """Return a file of the recipe's folder, or `package:NAME/PATH`: one inside an installed package."""
        if name.startswith(_PACKAGE):
            return _file_of_package(name)
        path = (self.folder / name).resolve()
        if not path.is_file():
            raise RecipeError(f"{self.folder / name} does not exist; the recipe names it")
        return path


def _file_of_package(name: str) -> Path:
    """Return a file that an installed package carries; the package is not imported."""
    package, _, inside = name.removeprefix(_PACKAGE).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise RecipeError(f"{name}: no package {package!r} is installed; the recipe names a file of it")
    folder = Path(spec.origin).resolve().parent
    path = (folder / inside).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        raise RecipeError(f"{name}: package {package} has no file {inside!r}; the recipe names it")
    return path


def read(path: Path, *, overrides: tuple[str, ...] = ()) -> Project:
    """Read a recipe file, or the `recipe.toml` of a folder."""
    file = path / "recipe.toml" if path.is_dir() else path
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise RecipeError(f"recipe {file}: cannot be read ({reason}); make one with `sprat init DIR`") from exc
    folder = file.resolve().parent
    recipe = recipes.parse(text, name=str(file), overrides=overrides)
    digests = _digests(folder, file.name, given=recipe.train.given)
    code = {name: digest for name, digest in digests.items() if name.endswith(".py") or name == file.name}
    return Project(recipe, folder, _folder_digest(digests), overrides, code)


def find_targets(names: Sequence[str], project: Project, targets_dir: Path) -> tuple[Target, ...]:
    """Return the targets, looked up beside the recipe, in the settings' folder, and among the built-in ones."""
    folders = (project.folder / "targets", project.folder.parent / "targets", targets_dir, _PACKAGED, _SOURCE_TREE)
    return tuple(_find_target(name, folders) for name in dict.fromkeys(names))


def every_target(*folders: Path) -> dict[str, Path]:
    """Return the known targets by name, those of earlier folders first."""
    found: dict[str, Path] = {}
    for folder in (*folders, _PACKAGED, _SOURCE_TREE):
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def _find_target(name: str, folders: Sequence[Path]) -> Target:
    known = every_target(*folders)
    path = Path(name) if name.endswith(".toml") else known.get(name)
    if path is None:
        raise RecipeError(unknown_key(name, tuple(known), "--target").replace("unknown key", "unknown target"))
    try:
        return targets.parse(path.read_text("utf-8"), name=str(path))
    except (OSError, UnicodeDecodeError) as exc:
        raise RecipeError(f"target {path}: cannot be read ({exc})") from exc


def _digests(folder: Path, recipe_name: str, *, given: str) -> dict[str, str]:
    """Hash each of the files that decide the bytes: the recipe, the sources beside it, and the weights that a given file points to."""
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and (path.suffix in {".py", ".csv", ".npz", ".parquet", ".onnx", ".tflite"} or path.name == recipe_name)
    ]
    weights = beside.weights_of(folder / given) if given and not given.startswith(_PACKAGE) else []
    found = {}
    for path in dict.fromkeys([*files[:_MAX_FOLDER_FILES], *weights]):
        with path.open("rb") as file:
            name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _folder_digest(digests: Mapping[str, str]) -> str:
    """Return one hash over the files, by name."""
    digest = hashlib.sha256()
    for name, one in digests.items():
        digest.update(f"{name}\0".encode() + bytes.fromhex(one))
    return digest.hexdigest()
