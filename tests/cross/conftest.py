"""Runners and libraries for foreign processors, each built once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from cli.conftest import call as call

from tilewright.compiler.api import CompileRequest, compile_model
from tilewright.compiler.package.runner import build_runner
from tilewright.targets.database import load_target

MODEL = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("runners")

    @cache
    def built(triple: str) -> Path:
        target = next(name for name in ("armv8-a", "armv7-a", "rv64gc", "x86-64") if load_target(name).triple == triple)
        return build_runner(load_target(target), folder / f"runner-{triple}")

    return built


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("digits")

    @cache
    def compiled(target: str) -> Path:
        artifact = compile_model(CompileRequest(MODEL, target, jobs=1))
        assert artifact is not None
        return artifact.save(folder / f"{target}.so")

    return compiled
