"""The weights: one blob that the assembler takes into a read-only section.

The section is backed by the file, so processes share its pages and loading costs nothing until a page is touched.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from .plan import Plan

#: Weights above this go into the large-data section of the x86-64 ABI, which code does not reach over 2 GiB offsets.
LARGE_BYTES = 1 << 30

_PAGE = 4096


def write_weights(plan: Plan, path: Path) -> str:
    """Write the blob, one constant at a time, and return its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for weight, offset in zip(plan.weights, plan.weight_offsets, strict=True):
            data = np.ascontiguousarray(weight.load()).reshape(-1).view(np.uint8).data
            for piece in (bytes(offset - file.tell()), data):
                file.write(piece)
                digest.update(piece)
        padding = bytes(plan.weight_bytes - file.tell())
        file.write(padding)
        digest.update(padding)
    return digest.hexdigest()


def data_assembly(weights: str, manifest: str, manifest_header: int, *, large: bool, program: str = "") -> str:
    """Return assembly that takes in files: the weights (``tw_weights``), the manifest (``tw_manifest``), a program.

    Args:
        weights: the blob's path relative to where the assembler runs.
        manifest: the path of the manifest's section.
        manifest_header: bytes before the manifest's text in it.
        large: whether the weights go into x86-64's section for large data.
        program: the file of a device's program (``tw_program``), "" for none.
    """
    section = '.lrodata.tw_weights,"al",%progbits' if large else '.rodata.tw_weights,"a",%progbits'
    return f"""\
        .section {section}
        .balign {_PAGE}
        .globl tw_weights
        .hidden tw_weights
        .type tw_weights, %object
tw_weights:
        .incbin "{weights}"
        .byte 0
        .section .tilewright,"a",%progbits
        .balign 8
        .incbin "{manifest}", 0, {manifest_header}
        .globl tw_manifest
        .hidden tw_manifest
        .type tw_manifest, %object
tw_manifest:
        .incbin "{manifest}", {manifest_header}
{_program(program)}\
        .section .note.GNU-stack,"",%progbits
"""


def _program(file: str) -> str:
    if not file:
        return ""
    return f"""\
        .section .rodata.tw_program,"a",%progbits
        .balign 64
        .globl tw_program
        .hidden tw_program
        .type tw_program, %object
tw_program:
        .incbin "{file}"
"""
