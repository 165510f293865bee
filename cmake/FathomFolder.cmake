# fathom_folder(NAME DEPENDS targets... [TEST_DEPENDS targets...] [EXCLUDE files...] [TESTS_TOGETHER])
# Makes the library fathom_NAME from src/NAME/*.cc and, with FATHOM_TESTS, the program NAME_test
# from src/NAME/*_test.cc, whose tests ctest knows one by one. EXCLUDE leaves out files of both.
# TESTS_TOGETHER: to ctest they are one test, run by one thread, as suits programs that take longer
# to start than most of their tests take.
function(fathom_folder name)
  cmake_parse_arguments(ARG "TESTS_TOGETHER" "" "DEPENDS;TEST_DEPENDS;EXCLUDE" ${ARGN})
  set(folder ${PROJECT_SOURCE_DIR}/src/${name})
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cc)
  foreach(file IN LISTS ARG_EXCLUDE)
    list(REMOVE_ITEM sources ${folder}/${file})
  endforeach()
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(sources)
    add_library(fathom_${name} STATIC ${sources})
    target_link_libraries(fathom_${name} PUBLIC fathom_options ${ARG_DEPENDS})
  else()
    add_library(fathom_${name} INTERFACE)
    target_link_libraries(fathom_${name} INTERFACE fathom_options ${ARG_DEPENDS})
  endif()
  if(FATHOM_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE fathom_${name} ${ARG_TEST_DEPENDS} GTest::gmock_main)
    target_compile_definitions(${name}_test PRIVATE FATHOM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    # Their own time is nothing beside what the compiler takes to optimise them.
    target_compile_options(${name}_test PRIVATE -O0)
    if(ARG_TESTS_TOGETHER)
      add_test(NAME ${name}.all COMMAND ${name}_test)
      set_tests_properties(${name}.all PROPERTIES TIMEOUT 300 LABELS ${name}
        ENVIRONMENT OMP_NUM_THREADS=1)
    else()
      gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60
        PROPERTIES TIMEOUT 300 LABELS ${name})
    endif()
  endif()
endfunction()

# Compiles the files of a folder that are named for an instruction set for that set. Only these
# files may contain its instructions: which of them runs is decided at run time.
function(fathom_instruction_sets name)
  set(folder ${PROJECT_SOURCE_DIR}/src/${name})
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set_source_files_properties(${folder}/kernels_avx2.cc PROPERTIES
      COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
    set_source_files_properties(${folder}/kernels_amx.cc ${folder}/kernels_avx512vnni.cc PROPERTIES
      COMPILE_OPTIONS "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mfma;-mf16c;-mprefer-vector-width=512;-Wno-maybe-uninitialized;-Wno-uninitialized")
    # GCC 12 takes the undefined vectors in its own AVX-512 header for mistakes. The instructions of
    # AMX stand in assembler, which needs no option.
    if(FATHOM_SANITIZE)
      # A minute and a half of the compiler's time otherwise.
      set_property(SOURCE ${folder}/kernels_amx.cc APPEND PROPERTY COMPILE_OPTIONS "-O0")
    endif()
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    set_source_files_properties(${folder}/kernels_neon.cc PROPERTIES
      COMPILE_OPTIONS "-march=armv8.2-a+dotprod")
  endif()
endfunction()
