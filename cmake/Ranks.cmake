# What connects processes that train together: MPI and, between GPUs, NCCL, where they are found.
# Sets FATHOM_RANKS_LIBRARIES, which src/train links with, and FATHOM_RANKS_EXCLUDED, those of its
# files that are not compiled: an implementation whose library is missing, or what stands in for it.
# FATHOM_MPI is AUTO (if an MPI library is found), ON (it must be) or OFF.
set(FATHOM_MPI AUTO CACHE STRING "Train in several processes with MPI: AUTO, ON or OFF")
set_property(CACHE FATHOM_MPI PROPERTY STRINGS AUTO ON OFF)
set(FATHOM_RANKS_LIBRARIES)
set(FATHOM_RANKS_EXCLUDED)

if(FATHOM_MPI)
  # C's interface, which is all that is used, by way of the C++ compiler: nothing else here is in C.
  set(MPI_CXX_SKIP_MPICXX ON)
  if(FATHOM_MPI STREQUAL "AUTO")
    find_package(MPI 3.0 COMPONENTS CXX)
  else()
    find_package(MPI 3.0 REQUIRED COMPONENTS CXX)
  endif()
endif()
if(MPI_CXX_FOUND)
  # Compilers' wrappers may name a library of C++ bindings, too, of which nothing is used.
  list(APPEND FATHOM_RANKS_LIBRARIES -Wl,--push-state,--as-needed MPI::MPI_CXX -Wl,--pop-state)
  list(APPEND FATHOM_RANKS_EXCLUDED mpi_missing.cc)
else()
  message(STATUS "MPI: not used; training runs in one process")
  list(APPEND FATHOM_RANKS_EXCLUDED mpi_ranks.cc)
endif()

# As PyTorch's packages bring them, which it loads itself, or the system's.
set(nccl_libraries)
if(MPI_CXX_FOUND AND EXISTS "${torch_folder}/lib/libtorch_cuda.so")
  set(packages "${torch_folder}/../nvidia")
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS "${packages}/nccl/include")
  find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2 HINTS "${packages}/nccl/lib")
  find_path(CUDA_RUNTIME_INCLUDE_DIR cuda_runtime_api.h
    HINTS "${packages}/cu13/include" "${packages}/cuda_runtime/include" PATHS /usr/local/cuda/include)
  find_library(CUDA_RUNTIME_LIBRARY NAMES cudart libcudart.so.13 libcudart.so.12
    HINTS "${packages}/cu13/lib" "${packages}/cuda_runtime/lib" PATHS /usr/local/cuda/lib64)
  if(NCCL_INCLUDE_DIR AND NCCL_LIBRARY AND CUDA_RUNTIME_INCLUDE_DIR AND CUDA_RUNTIME_LIBRARY)
    set(nccl_libraries "${NCCL_LIBRARY}" "${CUDA_RUNTIME_LIBRARY}")
  endif()
endif()
if(nccl_libraries)
  add_library(fathom::nccl INTERFACE IMPORTED)
  target_include_directories(fathom::nccl INTERFACE "${NCCL_INCLUDE_DIR}" "${CUDA_RUNTIME_INCLUDE_DIR}")
  target_link_libraries(fathom::nccl INTERFACE ${nccl_libraries})
  list(APPEND FATHOM_RANKS_LIBRARIES fathom::nccl)
  list(APPEND FATHOM_RANKS_EXCLUDED nccl_missing.cc)
  message(STATUS "NCCL: ${NCCL_LIBRARY}")
else()
  list(APPEND FATHOM_RANKS_EXCLUDED nccl_sums.cc)
endif()
