"""A target: everything the compiler knows of the machine a library is made for."""

from __future__ import annotations

from dataclasses import dataclass

_BITS = {"bool": 8}


@dataclass(frozen=True)
class Facts:
    """Measurable facts of a machine; sizes in bytes for one core (level 3: for the chip)."""

    vector_bits: int
    vector_registers: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    cores: int


@dataclass(frozen=True)
class Target:
    """One machine.

    Attributes:
        name: the row's name ("x86-64-v4", "znver4", "host").
        description: one sentence for people.
        arch: the family of instruction sets: "x86", "arm", "riscv"; "c" for whatever a C compiler knows.
        triple: the GNU triple ("x86_64-linux-gnu").
        tvm: TVM's target dictionary as pairs.
        features: CPU features in Linux's spelling ("avx2", "fma", "avx512f", "avx512_vnni"): those that generated code
            may use, all checked when a library loads.
        facts: vector width, registers, caches, cores.
        toolchain: names of toolchains to try, best first.
    """

    name: str
    description: str
    arch: str
    triple: str
    tvm: tuple[tuple[str, str | int | tuple[str, ...]], ...]
    features: frozenset[str]
    facts: Facts
    toolchain: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What kernels are compiled to: "llvm" objects, "c" text, ..."""
        return str(dict(self.tvm)["kind"])

    @property
    def is_gpu(self) -> bool:
        """Whether kernels are made of threads, and a driver runs them."""
        return self.kind in ("opencl", "cuda")

    def lanes(self, dtype: str = "float32") -> int:
        """Return how many elements of this type a vector register holds, at least 1."""
        bits = _BITS.get(dtype) or int("".join(each for each in dtype if each.isdigit()))
        return max(1, self.facts.vector_bits // bits)
