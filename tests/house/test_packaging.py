"""The package map in setup.cfg, the links under src/ and the folders say the same."""

import os

from house.repository import PACKAGE_FOLDERS, ROOT, package_folders, setup_cfg


def test_every_folder_with_an_init_is_a_package_and_no_other() -> None:
    listed = setup_cfg()["options"]["packages"].split()
    found = {"tilewright"}
    for package, folder in package_folders().items():
        if package == "tilewright":
            continue
        for here, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if name != "__pycache__"]
            if "__init__.py" in files:
                inner = os.path.relpath(here, folder)
                found.add(package if inner == "." else f"{package}.{inner.replace(os.sep, '.')}")
    assert len(listed) == len(set(listed))
    assert set(listed) == found


def test_every_folder_with_modules_has_an_init() -> None:
    for top in PACKAGE_FOLDERS:
        for here, _, files in os.walk(ROOT / top):
            if any(name.endswith(".py") for name in files):
                assert "__init__.py" in files, here


def test_links_point_at_the_mapped_folders() -> None:
    packages = package_folders()
    assert set(packages) == {"tilewright", *(f"tilewright.{name}" for name in PACKAGE_FOLDERS)}
    for name in PACKAGE_FOLDERS:
        link = ROOT / "src/tilewright" / name
        assert link.is_symlink()
        assert os.readlink(link) == f"../../{name}", "a link must be relative to survive a clone"
        assert link.resolve() == packages[f"tilewright.{name}"].resolve()


def test_every_file_that_is_not_python_is_package_data() -> None:
    patterns = setup_cfg()["options.package_data"]
    known = setup_cfg()["options"]["packages"].split()
    for package, folder in package_folders().items():
        if package == "tilewright":
            continue
        matched = {
            path
            for owner in known
            if owner == package or owner.startswith(package + ".")
            for pattern in patterns.get(owner, "").replace(",", " ").split()
            for path in (folder / owner.removeprefix(package).replace(".", "/").strip("/")).glob(pattern)
        }
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
                assert path in matched, f"{path.relative_to(ROOT)} would not be installed"
