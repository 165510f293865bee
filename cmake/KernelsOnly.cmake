# With FATHOM_KERNELS_ONLY: the folders up to kernels/, and what they depend on out of headers and
# sources alone. So a cross build needs no library that was compiled for the other processor:
# Debian's cross compilers find the headers in /usr/include, which are the same for all.
find_package(Threads REQUIRED)
add_library(fmt::fmt INTERFACE IMPORTED)
target_compile_definitions(fmt::fmt INTERFACE FMT_HEADER_ONLY)
add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)

if(FATHOM_TESTS)
  enable_testing()
  include(GoogleTest)
  set(INSTALL_GTEST OFF)
  add_subdirectory(/usr/src/googletest googletest EXCLUDE_FROM_ALL SYSTEM)
endif()

# What only these leave out needs OpenSSL.
fathom_folder(base DEPENDS fmt::fmt Threads::Threads EXCLUDE sha256.cc sha256_test.cc)
fathom_folder(formats DEPENDS fathom_base nlohmann_json::nlohmann_json)
fathom_folder(kernels DEPENDS fathom_formats)
fathom_instruction_sets(kernels)
