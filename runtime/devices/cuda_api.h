/* The part of the CUDA driver API that is used, looked up at run time: a library needs no CUDA to be loaded. */
#ifndef TILEWRIGHT_CUDA_API_H
#define TILEWRIGHT_CUDA_API_H

#include <stddef.h>
#include <stdint.h>

typedef int CUresult;
typedef int CUdevice;
typedef uint64_t CUdeviceptr;
typedef struct cu_context* CUcontext;
typedef struct cu_module* CUmodule;
typedef struct cu_function* CUfunction;
typedef struct cu_stream* CUstream;
typedef struct cu_graph* CUgraph;
typedef struct cu_graph_exec* CUgraphExec;

enum {
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CU_STREAM_NON_BLOCKING = 1,
  CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1
};

/* Every function: name as the driver exports it (with the version of its interface), parameters. */
#define TW_CUDA_FUNCTIONS(F)                                                                                      \
  F(cuInit, (unsigned))                                                                                           \
  F(cuDeviceGetCount, (int*))                                                                                     \
  F(cuDeviceGet, (CUdevice*, int))                                                                                \
  F(cuDeviceGetName, (char*, int, CUdevice))                                                                      \
  F(cuDevicePrimaryCtxRetain, (CUcontext*, CUdevice))                                                             \
  F(cuDevicePrimaryCtxRelease_v2, (CUdevice))                                                                     \
  F(cuCtxPushCurrent_v2, (CUcontext))                                                                             \
  F(cuCtxPopCurrent_v2, (CUcontext*))                                                                             \
  F(cuModuleLoadData, (CUmodule*, const void*))                                                                   \
  F(cuModuleUnload, (CUmodule))                                                                                   \
  F(cuModuleGetFunction, (CUfunction*, CUmodule, const char*))                                                    \
  F(cuMemAlloc_v2, (CUdeviceptr*, size_t))                                                                        \
  F(cuMemFree_v2, (CUdeviceptr))                                                                                  \
  F(cuMemcpyHtoD_v2, (CUdeviceptr, const void*, size_t))                                                          \
  F(cuMemcpyHtoDAsync_v2, (CUdeviceptr, const void*, size_t, CUstream))                                           \
  F(cuMemcpyDtoHAsync_v2, (void*, CUdeviceptr, size_t, CUstream))                                                 \
  F(cuMemcpyDtoDAsync_v2, (CUdeviceptr, CUdeviceptr, size_t, CUstream))                                           \
  F(cuStreamCreate, (CUstream*, unsigned))                                                                        \
  F(cuStreamDestroy_v2, (CUstream))                                                                               \
  F(cuStreamSynchronize, (CUstream))                                                                              \
  F(cuStreamBeginCapture_v2, (CUstream, int))                                                                     \
  F(cuStreamEndCapture, (CUstream, CUgraph*))                                                                     \
  F(cuGraphInstantiateWithFlags, (CUgraphExec*, CUgraph, unsigned long long))                                     \
  F(cuGraphLaunch, (CUgraphExec, CUstream))                                                                       \
  F(cuGraphExecDestroy, (CUgraphExec))                                                                            \
  F(cuGraphDestroy, (CUgraph))                                                                                    \
  F(cuLaunchKernel, (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, \
                     void**, void**))

struct tw_cuda {
#define TW_MEMBER(name, parameters) CUresult(*name) parameters;
  TW_CUDA_FUNCTIONS(TW_MEMBER)
#undef TW_MEMBER
};

#endif
