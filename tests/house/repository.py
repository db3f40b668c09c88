"""What the guard tests share: the repository's own files."""

from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE_FOLDERS = ("compiler", "optimizer", "passes", "schedules", "targets", "runtime")

_NOT_OURS = {".git", "build", "dist", "__pycache__"}


def own_files(*folders: str, suffixes: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the repository's files below folders (default: all), without what tools left there and without links."""
    stack = [ROOT / folder for folder in folders] or [ROOT]
    while stack:
        for path in sorted(stack.pop().iterdir()):
            if path.is_symlink() or path.name in _NOT_OURS or path.name.endswith(".egg-info"):
                continue
            if path.is_dir():
                if path.name == ".ci" or not path.name.startswith("."):
                    stack.append(path)
            elif not suffixes or path.suffix in suffixes:
                yield path


def package_folders() -> dict[str, Path]:
    """Return the package map of setup.cfg: from the package's name to its folder."""
    lines = setup_cfg()["options"]["package_dir"].strip().splitlines()
    return {name: ROOT / folder for name, folder in (line.split(" = ") for line in lines)}


def setup_cfg() -> ConfigParser:
    """Return setup.cfg, parsed."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config
