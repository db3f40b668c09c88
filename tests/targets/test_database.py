from pathlib import Path

import pytest

from tilewright.errors import UserError
from tilewright.targets.database import known_targets, load_target

#: LLVM's names of CPU features, where Linux spells them otherwise.
LINUX_NAMES = {
    "avx512bf16": "avx512_bf16",
    "avx512bitalg": "avx512_bitalg",
    "avx512fp16": "avx512_fp16",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avxvnni": "avx_vnni",
    "bmi": "bmi1",
    "lzcnt": "abm",
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
}
#: The same for ARM, whose features may have several names.
ARM_NAMES = {
    "fp-armv8": {"fp"},
    "neon": {"asimd"},
    "lse": {"atomics"},
    "fullfp16": {"fphp", "asimdhp"},
    "rdm": {"asimdrdm"},
    "dotprod": {"asimddp"},
    "fp16fml": {"asimdfhm"},
    "complxnum": {"fcma"},
    "jsconv": {"jscvt"},
    "altnzcv": {"flagm2"},
    "fptoint": {"frint"},
    "sve-bitperm": {"svebitperm"},
    **{name: {name} for name in ("bf16", "flagm", "i8mm", "sve", "sve2")},
}
ARM32_NAMES = {
    "neon": {"neon"},
    "vfp2": {"vfp"},
    "vfp3": {"vfpv3"},
    "vfp4": {"vfpv4"},
    "d32": {"vfpd32"},
    "fp16": {"half"},
    "hwdiv": {"idivt"},
    "hwdiv-arm": {"idiva"},
}
#: Every 64-bit x86 processor has these.
BASELINE = {"64bit", "64bit-mode", "cmov", "cx8", "fxsr", "mmx", "nopl", "x87"}
#: LLVM emits these instructions for intrinsics that nobody in this compiler writes, never by itself.
BY_INTRINSIC_ONLY = frozenset(
    """adx aes amx-bf16 amx-int8 amx-tile avx512vp2intersect cldemote clflushopt clwb clzero crc32 enqcmd fsgsbase
    invpcid movdir64b movdiri mwaitx pclmul pconfig pku prefetchi prfchw ptwrite rdpid rdpru rdrnd rdseed sahf serialize
    sha shstk tsxldtrk uintr vaes vpclmulqdq waitpkg wbnoinvd xsave xsavec xsaveopt xsaves""".split()  # noqa: SIM905
)
#: Prefixes and names by which LLVM tunes, which need no instruction.
TUNING = ("allow-", "false-deps-", "fast", "no-bypass-", "prefer-", "slow-", "tuning-")
TUNING_NAMES = {"branchfusion", "ermsb", "fsrm", "idivq-to-divl", "macrofusion", "sbb-dep-breaking", "vzeroupper"}


def instruction_sets(mcpu: str) -> set[str]:
    """Return what LLVM may emit for a CPU on its own account, in Linux's spelling."""
    from tvm.target import Target, codegen

    llvm = {str(each) for each in codegen.llvm_get_cpu_features(Target({"kind": "llvm", "mcpu": mcpu}))}
    relevant = llvm - BASELINE - BY_INTRINSIC_ONLY - TUNING_NAMES
    return {LINUX_NAMES.get(each, each) for each in relevant if not each.startswith(TUNING)}


def of_arch(arch: str) -> list[str]:
    return [name for name in known_targets() if load_target(name).arch == arch]


@pytest.mark.parametrize("name", of_arch("x86"))
def test_a_row_lists_exactly_the_instruction_sets_llvm_may_use(name: str) -> None:
    target = load_target(name)
    mcpu = str(dict(target.tvm)["mcpu"])
    assert mcpu.startswith(name) or target.description == f"Another name of {mcpu}"
    assert target.features == instruction_sets(mcpu)


@pytest.mark.parametrize("name", of_arch("arm"))
def test_an_arm_row_lists_exactly_the_instruction_sets_llvm_may_use(name: str) -> None:
    from tvm.target import Target, codegen

    target = load_target(name)
    tvm = {key: list(value) if isinstance(value, tuple) else value for key, value in target.tvm}
    llvm = {str(each) for each in codegen.llvm_get_cpu_features(Target(tvm))}
    names = ARM_NAMES if target.triple.startswith("aarch64") else ARM32_NAMES
    assert target.features == set().union(*(names[each] for each in llvm & names.keys()))


@pytest.mark.parametrize("name", of_arch("x86"))
def test_vector_width_follows_from_the_features(name: str) -> None:
    target = load_target(name)
    bits = 512 if "avx512f" in target.features else 256 if "avx2" in target.features else 128
    assert target.facts.vector_bits == bits
    assert target.facts.vector_registers == (32 if bits == 512 else 16)
    assert target.lanes("float32") == bits // 32
    assert target.lanes("float64") == bits // 64
    assert target.lanes("bfloat16") == bits // 16
    assert target.lanes("bool") == bits // 8
    assert target.facts.l1_bytes < target.facts.l2_bytes < target.facts.l3_bytes


def test_inheritance_lays_tables_over_and_adds_features(tmp_path: Path) -> None:
    row = tmp_path / "mine.toml"
    row.write_text(
        'inherits = "x86-64-v3"\ndescription = "Mine"\nfeatures = ["avx_vnni"]\nfacts = { cores = 3 }\n'
        'tvm = { mattr = ["+avxvnni"] }\n'
    )
    mine, parent = load_target(str(row)), load_target("x86-64-v3")
    assert mine.name == "mine"
    assert mine.features == parent.features | {"avx_vnni"}
    assert (mine.facts.cores, mine.facts.l1_bytes) == (3, parent.facts.l1_bytes)
    assert dict(mine.tvm) == {**dict(parent.tvm), "mattr": ("+avxvnni",)}
    assert mine.toolchain == parent.toolchain


def test_a_row_may_inherit_from_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('inherits = "haswell"\ndescription = "Base"\nfacts = { cores = 5 }\n')
    (tmp_path / "heir.toml").write_text('inherits = "base.toml"\ndescription = "Heir"\n')
    heir = load_target(str(tmp_path / "heir.toml"))
    assert (heir.name, heir.facts.cores, dict(heir.tvm)["mcpu"]) == ("heir", 5, "haswell")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("inherits = ", "the target file is not valid TOML"),
        ('descripton = "x"', "unknown key 'descripton' (did you mean 'description'?)"),
        ('description = ""', "'description' must be a string that is not empty, not ''"),
        ('features = "avx2"', "'features' must be an array of strings that are not empty, not 'avx2'"),
        ("facts = 3", "'facts' must be a table, not 3"),
        ("facts = { cores = true }", "'facts.cores' must be a positive integer, not True"),
        ("facts = { cores = 0 }", "'facts.cores' must be a positive integer, not 0"),
        ("facts = { l4_bytes = 1 }", "unknown key 'facts.l4_bytes'"),
        ("tvm = { mcpu = 1.5 }", "'tvm.mcpu' must be a string, a positive integer or an array of strings, not 1.5"),
        ('inherits = "haswel"', "'inherits' names the unknown target 'haswel' (did you mean 'haswell'?)"),
        ('inherits = "haswell"', "the target has no 'description', which every file has of its own"),
        ('description = "x"', "the target has no 'arch', neither of its own nor inherited"),
        ('inherits = "row.toml"', "'inherits' goes in a circle"),
        (
            'inherits = "rpi4"\ndescription = "x"\nfeatures = ["asimdd"]',
            "line 3: unknown feature 'asimdd' of aarch64-linux-gnu (did you mean 'asimddp', 'asimd'",
        ),
        (
            'inherits = "rpi4"\ndescription = "x"\ntvm = { mtriple = "x86_64-linux-gnu" }',
            "'tvm.mtriple' is x86_64-linux-gnu, 'triple' is aarch64-linux-gnu: they must agree",
        ),
    ],
)
def test_a_bad_row_names_the_file_and_the_key(tmp_path: Path, text: str, complaint: str) -> None:
    row = tmp_path / "row.toml"
    row.write_text(text)
    with pytest.raises(UserError) as raised:
        load_target(str(row))
    assert str(row) in str(raised.value)
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('inherits = "rpi4"\n\ndescripton = "x"', 3),
        ('description = "facts"\n[facts]\n# cores = 0\ncores = 0', 4),
        ('description = "x"\nfacts = { l1_bytes = 1, cors = 2 }', 2),
        ('description = "x"\nfacts.cores = "many"', 2),
    ],
)
def test_a_bad_key_is_found_by_its_line(tmp_path: Path, text: str, line: int) -> None:
    row = tmp_path / "row.toml"
    row.write_text(text)
    with pytest.raises(UserError, match=rf"row\.toml, line {line}: "):
        load_target(str(row))


def test_a_root_row_needs_every_fact(tmp_path: Path) -> None:
    row = tmp_path / "row.toml"
    row.write_text(
        'description = "x"\narch = "x86"\ntriple = "x86_64-linux-gnu"\ntoolchain = ["native"]\n'
        'tvm = { kind = "llvm" }\nfacts = { cores = 1 }\n'
    )
    with pytest.raises(UserError, match=r"row\.toml: the target has no 'facts\.vector_bits'"):
        load_target(str(row))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("x86-64-v5", "unknown target 'x86-64-v5' (did you mean 'x86-64-v4'"),
        ("hots", "did you mean 'host'?"),
        ("zzz", "unknown target 'zzz': 'tilewright targets' lists the known ones"),
        ("nowhere/mine.toml", "there is no target file 'nowhere/mine.toml'"),
        ("../haswell", "there is no target file '../haswell'"),
    ],
)
def test_an_unknown_name_offers_its_neighbours(name: str, complaint: str) -> None:
    with pytest.raises(UserError) as raised:
        load_target(name)
    assert complaint in str(raised.value)


def test_an_endless_file_is_refused(tmp_path: Path) -> None:
    row = tmp_path / "row.toml"
    row.write_text("#" * 70_000)
    with pytest.raises(UserError, match="more than 65536 bytes"):
        load_target(str(row))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    row = tmp_path / "row.toml"
    row.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not valid TOML"):
        load_target(str(row))
