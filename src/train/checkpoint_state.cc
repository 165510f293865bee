#include "train/checkpoint_state.h"

#include <cstddef>

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "formats/json_file.h"

namespace fathom {
namespace {

constexpr const char* state_file = "state.json";
constexpr std::size_t largest_state = std::size_t{1} << 20;

}  // namespace

void write_checkpoint_state(const std::filesystem::path& folder, std::uint64_t steps,
                            const std::string& description) {
  const nlohmann::ordered_json state{{"steps", steps}, {"description", description}};
  write_file_atomically(folder / state_file, state.dump(1) + "\n");
}

std::uint64_t read_checkpoint_state(const std::filesystem::path& folder,
                                    const std::string& description) {
  const std::string path = (folder / state_file).string();
  const nlohmann::json state = read_json_object(path, largest_state);
  const JsonFields fields(path, state);
  const std::uint64_t steps = fields.require_unsigned("steps");
  if (const std::string& found = fields.require_string("description"); found != description) {
    fields.fail("description", "the training there is another one: " + found + " found, " +
                                   description + " expected");
  }
  return steps;
}

}  // namespace fathom
