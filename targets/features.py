"""CPU features that a library can look for when it is loaded, by the first word of a triple.

The same names stand in the tables of the C runtime, where each has its bit.
"""

from __future__ import annotations

_WORDS = {
    "x86_64": (
        "3dnowprefetch abm adx aes amx_bf16 amx_fp16 amx_int8 amx_tile avx avx2 avx512_bf16 avx512_bitalg "
        "avx512_fp16 avx512_vbmi2 avx512_vnni avx512_vp2intersect avx512_vpopcntdq avx512bw avx512cd "
        "avx512dq avx512f avx512ifma avx512vbmi avx512vl avx_ifma avx_ne_convert avx_vnni avx_vnni_int16 "
        "avx_vnni_int8 bmi1 bmi2 cmov cx16 cx8 f16c fma fma4 fxsr gfni lahf_lm lm lzcnt mmx movbe "
        "pclmulqdq pni popcnt rdrand sha_ni sse sse2 sse3 sse4_1 sse4_2 sse4a ssse3 vaes vpclmulqdq xsave"
    ),
    "aarch64": (
        "asimd asimddp asimdfhm asimdhp asimdrdm atomics bf16 crc32 fcma flagm flagm2 fp fphp frint i8mm "
        "jscvt lrcpc sve sve2 svebitperm"
    ),
    "arm": "half idiva idivt neon vfp vfpd32 vfpv3 vfpv4",
    "riscv64": "a c d f m v",
}

KNOWN_FEATURES = {machine: frozenset(words.split()) for machine, words in _WORDS.items()}
