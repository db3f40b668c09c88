from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tilewright import UserError
from tilewright.compiler.measure import ceiling as module
from tilewright.compiler.measure.ceiling import Ceiling, measure_ceiling

ROOFLINE = Ceiling(1, 100e9, ((1 << 15, 400e9), (1 << 20, 100e9), (1 << 27, 20e9)))


def test_a_step_is_bound_by_arithmetic_or_by_memory() -> None:
    assert ROOFLINE.seconds(1e9, 1 << 15) == pytest.approx(0.01)
    assert ROOFLINE.bound(1e9, 1 << 15) == "compute"
    assert ROOFLINE.seconds(1e3, 1 << 27) == pytest.approx((1 << 27) / 20e9)
    assert ROOFLINE.bound(1e3, 1 << 27) == "memory"
    assert ROOFLINE.seconds(0, 0) == 0


def test_bandwidth_is_that_of_the_working_set() -> None:
    assert ROOFLINE.bandwidth(100) == 400e9
    assert ROOFLINE.bandwidth(1 << 20) == 100e9
    assert ROOFLINE.bandwidth(1 << 40) == 20e9
    assert 20e9 < ROOFLINE.bandwidth(1 << 24) < 100e9


@pytest.fixture(scope="module")
def measured() -> Ceiling:
    return measure_ceiling(1)


def test_this_machine_lies_within_what_any_core_can_do(measured: Ceiling) -> None:
    # A core of 1 to 6 GHz makes 4 (SSE, no FMA, one port) to 64 (AVX-512, two ports) operations a cycle.
    assert 4e9 < measured.flops < 400e9
    rates = [rate for _, rate in measured.bandwidths]
    assert rates == sorted(rates, reverse=True)
    assert 1e9 < rates[-1] < rates[0] < 1e12


@pytest.mark.parametrize("flags", [(), ("-mavx2", "-mfma"), ("-mavx512f",)])
def test_every_vector_width_multiplies_and_adds_in_registers(tmp_path: Path, flags: tuple[str, ...]) -> None:
    source = Path(module.__file__).with_name("ceiling.c")
    listing = tmp_path / "ceiling.s"
    always = ("-Wall", "-Wextra", "-Werror", "-O2", "-ffp-contract=fast")
    subprocess.run(["gcc", *always, *flags, "-S", str(source), "-o", str(listing)], check=True)
    code = listing.read_text().partition("tilewright_ceiling_compute:")[2].partition(".cfi_endproc")[0]
    register = {(): "%xmm", ("-mavx2", "-mfma"): "%ymm", ("-mavx512f",): "%zmm"}[flags]
    words = ("vfmadd",) if flags else ("mulps", "addps")
    for word in words:
        lines = [line for line in code.splitlines() if word in line and register in line]
        assert len(lines) == 12, code
        assert not any("(" in line for line in lines), "a chain was spilled to memory"


def test_no_compiler_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UserError, match="no C compiler for x86_64-linux-gnu was found"):
        measure_ceiling(1)
