"""`sprat init`: a new project that builds at once."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from sprat.cli import ci as ci_
from sprat.cli.output import JsonFlag, Output, QuietFlag
from sprat.errors import ContractError, WrongUse
from sprat_device.contract.ids import model_name

TEMPLATES: Final = Path(__file__).with_name("templates")
_NAME_MARK: Final = "MODEL-NAME"


def init(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder to make; its name becomes the model's. With --ci also one that has a recipe.toml."),
    ] = Path(),
    template: Annotated[str, typer.Option(help="tabular, image or sensor.")] = "tabular",
    ci: Annotated[
        str, typer.Option("--ci", help="Also write a pipeline that builds on every push: github or gitlab.")
    ] = "",
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make a project: recipe, factory and targets; `sprat build` works on it at once.

    Example: sprat init my-model --template sensor --ci github
    """
    if ci:
        ci_.require_known(ci)
        if (folder / "recipe.toml").is_file():
            written = ci_.write(folder, ci)
            Output(json, quiet).result(
                {"folder": str(folder), "files": [str(written.relative_to(folder))]}, f"{written}: builds on every push"
            )
            return
    known = sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir() and not path.name.startswith("_"))
    if template not in known:
        raise WrongUse(f"--template {template!r}: expected one of {', '.join(known)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WrongUse(f"{folder} exists and is not empty; choose another folder")
    try:
        name = model_name(folder.resolve().name)
    except ContractError as exc:
        raise WrongUse(f"{folder}: its name becomes the model's; {exc}") from exc
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made beside its place and moved there whole, so that a full disk leaves nothing half-made.
    with tempfile.TemporaryDirectory(prefix=".sprat-init-", dir=folder.parent) as work:
        made = Path(work) / "project"
        shutil.copytree(TEMPLATES / template, made, ignore=shutil.ignore_patterns("__pycache__"))
        _copy_targets(made / "targets")
        recipe = made / "recipe.toml"
        recipe.write_text(recipe.read_text("utf-8").replace(_NAME_MARK, name), "utf-8")
        if ci:
            ci_.write(made, ci)
        made.chmod(0o755)
        made.replace(folder)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    Output(json, quiet).result(
        {"folder": str(folder), "model": name, "template": template, "files": files},
        f"{folder}: {template} project {name!r} with {len(files)} files",
        f"next: sprat build {folder} --out {folder}/out",
    )


def _copy_targets(into: Path) -> None:
    from sprat.compiler.spec.project import every_target

    into.mkdir()
    for path in every_target().values():
        shutil.copy(path, into / path.name)
