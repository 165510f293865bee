#pragma once

#include <string_view>

/// The files a page is put together from, as they are in the source tree: CMakeLists.txt names
/// them, cmake/EmbedFiles.cmake embeds them.
namespace fathom::embedded {

extern const std::string_view page_css;
extern const std::string_view page_js;
extern const std::string_view vega_min_js;
extern const std::string_view vega_lite_min_js;
extern const std::string_view vega_embed_min_js;
extern const std::string_view licenses_txt;  ///< of the three above

}  // namespace fathom::embedded
