# Makes the target fathom::torch: libtorch as the Python package of PyTorch has it. Not by
# find_package(Torch), which wants a CUDA toolkit for packages that were built for CUDA, although
# nothing here is compiled for it.
#
# TORCH_DIR (a variable of CMake or of the environment) is the package's folder, the one with
# include/ and lib/; by default the one that tools/fetch_torch.sh keeps in the user's cache folder.
set(TORCH_DIR "$ENV{TORCH_DIR}" CACHE PATH "The folder of PyTorch's Python package")
set(torch_folder "${TORCH_DIR}")
if(NOT torch_folder)
  execute_process(COMMAND ${PROJECT_SOURCE_DIR}/tools/fetch_torch.sh --where
    OUTPUT_VARIABLE torch_folder OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
foreach(file include/ATen/core/Tensor.h lib/libtorch.so lib/libtorch_cpu.so lib/libc10.so)
  if(NOT EXISTS "${torch_folder}/${file}")
    message(FATAL_ERROR "libtorch is not in '${torch_folder}': ${file} is missing. "
      "Run tools/fetch_torch.sh, or set TORCH_DIR to the folder 'torch' of an installed PyTorch.")
  endif()
endforeach()

set(torch_libraries torch torch_cpu c10)
if(EXISTS "${torch_folder}/lib/libtorch_cuda.so")
  list(APPEND torch_libraries torch_cuda c10_cuda)
endif()
add_library(fathom::torch INTERFACE IMPORTED)
target_include_directories(fathom::torch INTERFACE "${torch_folder}/include")
# One header an operation: what includes all of them takes the compiler twice as long.
target_compile_definitions(fathom::torch INTERFACE AT_PER_OPERATOR_HEADERS)
# Before libtorch, which exports some functions of the libstdc++ that it was built with
# (std::filesystem's): with the halves of two versions remove_all() crashes.
target_link_libraries(fathom::torch INTERFACE "-Wl,--push-state,--no-as-needed,-lstdc++,--pop-state")
foreach(library IN LISTS torch_libraries)
  # Kept although nothing calls them: they register their operations when they are loaded.
  target_link_libraries(fathom::torch INTERFACE
    "-Wl,--push-state,--no-as-needed,${torch_folder}/lib/lib${library}.so,--pop-state")
endforeach()
target_link_options(fathom::torch INTERFACE "-Wl,-rpath,${torch_folder}/lib")

# A function whose symbol's name tells which of libstdc++'s two strings libtorch was built with.
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES fathom::torch)
check_cxx_source_compiles("
  #include <string>
  namespace at { std::string show_config(); }
  int main() { return at::show_config().empty(); }" FATHOM_TORCH_LINKS)
unset(CMAKE_REQUIRED_LIBRARIES)
if(NOT FATHOM_TORCH_LINKS)
  unset(FATHOM_TORCH_LINKS CACHE)  # asked again once it has been put right
  message(FATAL_ERROR "What this compiler makes does not link with the libtorch in '${torch_folder}': "
    "it was built with another C++ standard library or ABI (_GLIBCXX_USE_CXX11_ABI), or for another processor.")
endif()
