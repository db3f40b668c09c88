/* The part of OpenCL 1.2 that is used, looked up at run time: a library needs no OpenCL to be loaded. */
#ifndef TILEWRIGHT_OPENCL_API_H
#define TILEWRIGHT_OPENCL_API_H

#include <stddef.h>
#include <stdint.h>

typedef int32_t cl_int;
typedef uint32_t cl_uint;
typedef uint64_t cl_ulong;
typedef struct cl_platform *cl_platform_id;
typedef struct cl_device *cl_device_id;
typedef struct cl_context_ *cl_context;
typedef struct cl_queue *cl_command_queue;
typedef struct cl_memory *cl_mem;
typedef struct cl_program_ *cl_program;
typedef struct cl_kernel_ *cl_kernel;
typedef struct cl_event_ *cl_event;
typedef struct {
  size_t origin, size;
} cl_buffer_region;

enum {
  CL_TRUE = 1,
  CL_DEVICE_TYPE_GPU = 4,
  CL_DEVICE_TYPE_ALL = -1,
  CL_DEVICE_MAX_WORK_GROUP_SIZE = 0x1004,
  CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
  CL_DEVICE_MEM_BASE_ADDR_ALIGN = 0x1019,
  CL_DEVICE_NAME = 0x102B,
  CL_DRIVER_VERSION = 0x102D,
  CL_DEVICE_VERSION = 0x102F,
  CL_MEM_READ_WRITE = 1,
  CL_MEM_READ_ONLY = 4,
  CL_MEM_COPY_HOST_PTR = 32,
  CL_BUFFER_CREATE_TYPE_REGION = 0x1220,
  CL_PROGRAM_BINARY_SIZES = 0x1165,
  CL_PROGRAM_BINARIES = 0x1166,
  CL_PROGRAM_BUILD_LOG = 0x1183
};

/* Every function: result, name without "cl", parameters. */
#define TW_OPENCL_FUNCTIONS(F)                                                                                      \
  F(cl_int, GetPlatformIDs, (cl_uint, cl_platform_id*, cl_uint*))                                                   \
  F(cl_int, GetDeviceIDs, (cl_platform_id, cl_ulong, cl_uint, cl_device_id*, cl_uint*))                             \
  F(cl_int, GetDeviceInfo, (cl_device_id, cl_uint, size_t, void*, size_t*))                                         \
  F(cl_context, CreateContext, (const intptr_t*, cl_uint, const cl_device_id*, void*, void*, cl_int*))              \
  F(cl_int, ReleaseContext, (cl_context))                                                                           \
  F(cl_command_queue, CreateCommandQueue, (cl_context, cl_device_id, cl_ulong, cl_int*))                            \
  F(cl_int, ReleaseCommandQueue, (cl_command_queue))                                                                \
  F(cl_mem, CreateBuffer, (cl_context, cl_ulong, size_t, void*, cl_int*))                                           \
  F(cl_mem, CreateSubBuffer, (cl_mem, cl_ulong, cl_uint, const void*, cl_int*))                                     \
  F(cl_int, ReleaseMemObject, (cl_mem))                                                                             \
  F(cl_program, CreateProgramWithSource, (cl_context, cl_uint, const char**, const size_t*, cl_int*))               \
  F(cl_program, CreateProgramWithBinary,                                                                            \
    (cl_context, cl_uint, const cl_device_id*, const size_t*, const unsigned char**, cl_int*, cl_int*))             \
  F(cl_int, BuildProgram, (cl_program, cl_uint, const cl_device_id*, const char*, void*, void*))                    \
  F(cl_int, GetProgramInfo, (cl_program, cl_uint, size_t, void*, size_t*))                                          \
  F(cl_int, GetProgramBuildInfo, (cl_program, cl_device_id, cl_uint, size_t, void*, size_t*))                       \
  F(cl_int, ReleaseProgram, (cl_program))                                                                           \
  F(cl_kernel, CreateKernel, (cl_program, const char*, cl_int*))                                                    \
  F(cl_int, SetKernelArg, (cl_kernel, cl_uint, size_t, const void*))                                                \
  F(cl_int, ReleaseKernel, (cl_kernel))                                                                             \
  F(cl_int, EnqueueNDRangeKernel, (cl_command_queue, cl_kernel, cl_uint, const size_t*, const size_t*, const size_t*, \
                                   cl_uint, const cl_event*, cl_event*))                                            \
  F(cl_int, EnqueueWriteBuffer, (cl_command_queue, cl_mem, cl_uint, size_t, size_t, const void*, cl_uint,           \
                                 const cl_event*, cl_event*))                                                       \
  F(cl_int, EnqueueReadBuffer, (cl_command_queue, cl_mem, cl_uint, size_t, size_t, void*, cl_uint, const cl_event*, \
                                cl_event*))                                                                         \
  F(cl_int, EnqueueCopyBuffer, (cl_command_queue, cl_mem, cl_mem, size_t, size_t, size_t, cl_uint, const cl_event*, \
                                cl_event*))                                                                         \
  F(cl_int, Finish, (cl_command_queue))

struct tw_opencl {
#define TW_MEMBER(result, name, parameters) result(*name) parameters;
  TW_OPENCL_FUNCTIONS(TW_MEMBER)
#undef TW_MEMBER
};

#endif
