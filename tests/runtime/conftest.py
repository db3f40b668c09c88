from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from packaging_models import Case, convolution_case, make
from plan_builder import Arrays, PlanBuilder, tiny_reference


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> PlanBuilder:
    return PlanBuilder(tmp_path_factory.mktemp("libraries"))


@pytest.fixture(scope="session")
def tiny(builder: PlanBuilder) -> Path:
    return builder.shared("tiny")


@pytest.fixture
def inputs() -> Arrays:
    return {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "input.ids": np.array([3, -1, 0, 5])}


@pytest.fixture
def expected(inputs: Arrays) -> Arrays:
    return tiny_reference(inputs)


@pytest.fixture(scope="session")
def case() -> Case:
    return convolution_case()


@pytest.fixture(scope="session")
def compiled(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library from the compiler; its kernels use nothing that valgrind does not know (it knows no AVX-512)."""
    return make(case, target="x86-64-v3").save(tmp_path_factory.mktemp("compiled") / "model.so")
