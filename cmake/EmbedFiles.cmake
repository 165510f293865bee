# fathom_embed(NAME files...)
# Puts the bytes of text files into the library fathom_NAME, each as a std::string_view in the
# namespace fathom::embedded that is called as the file is, with "_" for what no name may hold:
# page.css is page_css. The folder's own header declares them. A changed file is embedded again.
#
# Each file becomes a source with one raw string: compilers read those as fast as they read at all.
if(CMAKE_SCRIPT_MODE_FILE)  # at build, as the function below calls it
  get_filename_component(name ${INPUT} NAME)
  string(MAKE_C_IDENTIFIER ${name} name)
  file(READ ${INPUT} content)
  string(FIND "${content}" ")fathom_file\"" end)
  if(NOT end EQUAL -1)
    message(FATAL_ERROR "${INPUT}: cannot be embedded: it holds )fathom_file\"")
  endif()
  file(WRITE ${OUTPUT}
"#include <string_view>

namespace fathom::embedded {
namespace {
constexpr char content[] = R\"fathom_file(${content})fathom_file\";
}
extern const std::string_view ${name};
constinit const std::string_view ${name}{content, sizeof content - 1};
}  // namespace fathom::embedded
")
  return()
endif()

set(FATHOM_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(fathom_embed name)
  foreach(file IN LISTS ARGN)
    cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE input)
    cmake_path(GET file FILENAME stem)
    set(output ${PROJECT_BINARY_DIR}/embedded/${name}/${stem}.cc)
    add_custom_command(OUTPUT ${output}
      COMMAND ${CMAKE_COMMAND} -DINPUT=${input} -DOUTPUT=${output} -P ${FATHOM_EMBED_SCRIPT}
      DEPENDS ${input} ${FATHOM_EMBED_SCRIPT} VERBATIM)
    # clang: "longer than compilers are required to support". Both that this builds with do.
    set_source_files_properties(${output} PROPERTIES COMPILE_OPTIONS -Wno-overlength-strings)
    target_sources(fathom_${name} PRIVATE ${output})
  endforeach()
endfunction()
