from dataclasses import replace
from pathlib import Path

import pytest

from tilewright.errors import UserError
from tilewright.targets.database import load_target
from tilewright.targets.host import Machine, host_target, read_machine, target_of

ZEN5 = Machine(
    architecture="x86_64",
    vendor="AuthenticAMD",
    model="AMD EPYC 9755",
    flags=load_target("znver5").features | {"fpu", "pku", "sha_ni"},
    caches={1: 48 << 10, 2: 1 << 20, 3: 32 << 20},
    cores=2,
)


def machine_with(*names: str, vendor: str = "GenuineIntel", extra: tuple[str, ...] = ()) -> Machine:
    flags = frozenset().union(*(load_target(name).features for name in names)) | frozenset(extra)
    return replace(ZEN5, vendor=vendor, flags=flags)


def test_a_known_machine_takes_its_own_row_with_measured_facts() -> None:
    target = target_of(ZEN5)
    assert (target.name, dict(target.tvm)["mcpu"]) == ("host", "znver5")
    assert target.features == load_target("znver5").features
    assert (target.facts.l1_bytes, target.facts.l3_bytes, target.facts.cores) == (48 << 10, 32 << 20, 2)
    assert target.facts.vector_bits == 512


@pytest.mark.parametrize(
    ("hidden", "mcpu"),
    [
        ({"avx_vnni"}, "znver4"),
        ({"sse4a"}, "x86-64-v4"),
        ({"avx512f"}, "znver3"),
        ({"avx512f", "sse4a"}, "x86-64-v3"),
        ({"avx2"}, "x86-64-v2"),
        ({"ssse3"}, "x86-64"),
    ],
)
def test_features_a_hypervisor_hides_are_never_used(hidden: set[str], mcpu: str) -> None:
    machine = replace(ZEN5, flags=ZEN5.flags - hidden)
    target = target_of(machine)
    assert dict(target.tvm)["mcpu"] == mcpu
    assert target.features <= machine.flags


@pytest.mark.parametrize(
    ("machine", "mcpu", "mattr"),
    [
        (machine_with("sapphirerapids"), "sapphirerapids", None),
        (machine_with("icelake-server"), "icelake-server", None),
        (machine_with("skylake-avx512", extra=("avx512_vnni",)), "skylake-avx512", ("+avx512vnni",)),
        (machine_with("haswell", extra=("avx_vnni", "gfni")), "haswell", ("+avxvnni", "+gfni")),
        (machine_with("x86-64-v4", vendor="CentaurHauls", extra=("avx512ifma",)), "x86-64-v4", ("+avx512ifma",)),
        # A hypervisor that shows an extension and hides its foundation.
        (machine_with("haswell", extra=("avx512_vnni",)), "haswell", None),
    ],
)
def test_features_beyond_the_row_are_switched_on_one_by_one(
    machine: Machine, mcpu: str, mattr: tuple[str, ...] | None
) -> None:
    target = target_of(machine)
    tvm = dict(target.tvm)
    assert (tvm["mcpu"], tvm.get("mattr")) == (mcpu, mattr)
    assert target.features <= machine.flags


def test_llvm_takes_every_extra_and_switches_on_nothing_else() -> None:
    from tvm.target import Target, codegen

    machine = machine_with("x86-64-v4", "znver5", "sapphirerapids", vendor="other")
    tvm = {key: list(value) if isinstance(value, tuple) else value for key, value in target_of(machine).tvm}
    assert len(tvm["mattr"]) == 10
    plain = {str(each) for each in codegen.llvm_get_cpu_features(Target({**tvm, "mattr": []}))}
    given = {str(each) for each in codegen.llvm_get_cpu_features(Target(tvm))}
    assert given - plain == {each[1:] for each in tvm["mattr"]}


def test_missing_caches_keep_the_rows_facts() -> None:
    assert target_of(replace(ZEN5, caches={})).facts == replace(load_target("znver5").facts, cores=2)


@pytest.mark.parametrize(
    ("machine", "complaint"),
    [
        (replace(ZEN5, architecture="sparc64"), "no target describes this machine ('sparc64')"),
        (replace(ZEN5, flags=frozenset()), "this machine lacks sse, sse2, which every x86 target needs"),
        (replace(ZEN5, architecture="aarch64", flags=frozenset({"fp"})), "this machine lacks asimd"),
    ],
)
def test_a_machine_without_a_row_is_a_user_error(machine: Machine, complaint: str) -> None:
    with pytest.raises(UserError) as raised:
        target_of(machine)
    assert complaint in str(raised.value)


def test_proc_and_sys_are_read(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Some CPU\nflags\t\t: sse sse2 avx\n\n"
        "processor\t: 1\nvendor_id\t: Other\n"
    )
    for index, (level, kind, size) in enumerate(
        [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2M"), ("3", "Unified", "odd")]
    ):
        folder = tmp_path / f"devices/system/cpu/cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(text + "\n")
    machine = read_machine(proc=tmp_path, sys=tmp_path)
    assert (machine.vendor, machine.model) == ("GenuineIntel", "Some CPU")
    assert machine.flags == {"sse", "sse2", "avx"}
    assert machine.caches == {1: 48 << 10, 2: 2 << 20}


@pytest.mark.parametrize(
    ("architecture", "cpuinfo", "mcpu"),
    [
        ("aarch64", "Features\t: fp asimd crc32\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n", "cortex-a72"),
        ("aarch64", "Features\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n", "generic"),
        ("armv7l", "Features\t: half vfp neon vfpv3 vfpd32\nCPU implementer\t: 0x41\nCPU part\t: 0xc09\n", "generic"),
        ("riscv64", "isa\t: rv64imafdcv_zicsr_zba\n", "generic-rv64"),
    ],
)
def test_other_architectures_are_read_in_their_own_words(
    tmp_path: Path, architecture: str, cpuinfo: str, mcpu: str
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{cpuinfo}\n")
    target = target_of(replace(read_machine(proc=tmp_path, sys=tmp_path), architecture=architecture))
    assert dict(target.tvm)["mcpu"] == mcpu
    assert target.arch == {"aarch64": "arm", "armv7l": "arm", "riscv64": "riscv"}[architecture]
    assert ("v" in target.features) == ("rv64imafdcv" in cpuinfo)


def test_a_system_without_proc_and_sys_reads_as_empty(tmp_path: Path) -> None:
    machine = read_machine(proc=tmp_path, sys=tmp_path)
    assert (machine.vendor, machine.flags, machine.caches) == ("", frozenset(), {})
    assert machine.cores >= 1


def test_this_machine_has_what_its_target_lists() -> None:
    target = host_target()
    assert target.features <= read_machine().flags
    assert load_target("host") is target
