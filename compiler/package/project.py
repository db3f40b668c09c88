"""Small text files that go with a linked model: version script, header, Makefile, CMakeLists.txt."""

from __future__ import annotations

from collections.abc import Sequence


def exports(functions: Sequence[str]) -> str:
    """Return a linker version script that exports these functions and nothing else."""
    return f"{{ global: {' '.join(f'{function};' for function in functions)} local: *; }};\n"


def prefixed_header(name: str) -> str:
    """Return a header that declares a model's functions with its name in front: one file can use several models."""
    guard = f"{name.upper()}_TILEWRIGHT_H"
    return f"""\
/* The model {name}, linked statically. What the functions do stands in tilewright.h. */
#ifndef {guard}
#define {guard}

#include "tilewright.h"

#ifdef __cplusplus
extern "C" {{
#endif

const tilewright_model* {name}_tilewright_info(void);
int32_t {name}_tilewright_create(int32_t num_threads, void* arena, tilewright_instance** instance);
int32_t {name}_tilewright_run(tilewright_instance* instance, const void* const* inputs, void* const* outputs);
int32_t {name}_tilewright_set_shapes(tilewright_instance* instance, const int64_t* const* shapes);
int32_t {name}_tilewright_output_shape(const tilewright_instance* instance, int32_t output, int64_t* shape);
int32_t {name}_tilewright_profile(tilewright_instance* instance, const void* const* inputs, void* const* outputs,
                                  double* seconds);
const char* {name}_tilewright_error(const tilewright_instance* instance);
void {name}_tilewright_free(tilewright_instance* instance);

#ifdef __cplusplus
}}
#endif

#endif
"""


def makefile(
    name: str,
    sources: Sequence[str],
    objects: Sequence[str],
    compile_flags: Sequence[str],
    link_flags: Sequence[str],
    libraries: Sequence[str],
) -> str:
    """Return a Makefile that links the shared library."""
    return f"""\
CFLAGS = {" ".join(compile_flags)}
LDFLAGS = {" ".join(link_flags)}
SOURCES = {" ".join(sources)}
KERNELS = {" ".join(objects)}

{name}.so: $(SOURCES) $(KERNELS) weights.bin manifest.bin exports.map
\t$(CC) $(CFLAGS) $(LDFLAGS) $(SOURCES) $(KERNELS) {" ".join(libraries)} -o $@

clean:
\trm -f {name}.so

.PHONY: clean
"""


def cmake_lists(
    name: str,
    sources: Sequence[str],
    objects: Sequence[str],
    compile_flags: Sequence[str],
    link_flags: Sequence[str],
    libraries: Sequence[str],
) -> str:
    """Return a CMakeLists.txt that links the shared library."""
    linked = [flag for flag in link_flags if flag != "-shared" and "--version-script" not in flag]
    return f"""\
cmake_minimum_required(VERSION 3.13)
project({name} C ASM)

add_library({name} SHARED {" ".join(sources)} {" ".join(objects)})
set_source_files_properties({" ".join(objects)} PROPERTIES EXTERNAL_OBJECT ON)
set_source_files_properties(data.S PROPERTIES OBJECT_DEPENDS
    "${{CMAKE_CURRENT_SOURCE_DIR}}/weights.bin;${{CMAKE_CURRENT_SOURCE_DIR}}/manifest.bin")
set_target_properties({name} PROPERTIES PREFIX "")
target_include_directories({name} PRIVATE ${{CMAKE_CURRENT_SOURCE_DIR}})
target_compile_options({name} PRIVATE $<$<COMPILE_LANGUAGE:C>:{";".join(compile_flags)}>
    $<$<COMPILE_LANGUAGE:ASM>:-I${{CMAKE_CURRENT_SOURCE_DIR}};-Wa,-I${{CMAKE_CURRENT_SOURCE_DIR}}>)
target_link_options({name} PRIVATE {" ".join(linked)}
    "LINKER:--version-script=${{CMAKE_CURRENT_SOURCE_DIR}}/exports.map")
target_link_libraries({name} PRIVATE {" ".join(libraries)})
"""
