#include "fuzz/folder_input.h"

#include <algorithm>
#include <filesystem>

namespace fathom {

void write_files(const TestFolder& folder, std::span<const std::string_view> names,
                 std::string_view input) {
  for (const std::string_view name : names) std::filesystem::remove(folder.path() / name);
  constexpr std::string_view mark = "@ ";
  constexpr std::string_view next_mark = "\n@ ";
  while (input.starts_with(mark)) {
    input.remove_prefix(mark.size());
    const std::string_view name = input.substr(0, input.find('\n'));
    input.remove_prefix(std::min(name.size() + 1, input.size()));
    const std::string_view content = input.substr(0, input.find(next_mark));
    input.remove_prefix(std::min(content.size() + 1, input.size()));
    if (std::find(names.begin(), names.end(), name) != names.end()) folder.write(name, content);
  }
}

}  // namespace fathom
