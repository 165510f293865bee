// Writes the exact logits of every position of the prompts in golden/engine.json, for
// `golden/engine.py --compare FOLDER`, which holds all of the vocabulary to transformers.
// Usage: dump_logits MODEL engine.json FOLDER
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/available_cpus.h"
#include "engine/cpu_model.h"

namespace fathom {
namespace {

// NumPy's .npy, version 1.0: a header of text padded to 64 bytes, then the numbers.
void write_npy(const std::filesystem::path& path, std::span<const float> values, std::size_t rows,
               std::size_t columns) {
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  constexpr std::size_t preamble = 10;
  while ((preamble + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8);
  const auto length = static_cast<std::uint16_t>(header.size());
  file.write(reinterpret_cast<const char*>(&length), 2);
  file << header;
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size_bytes()));
}

int dump(const std::string& model_path, const std::string& golden, const std::string& folder) {
  ThreadTeam team(available_cpus());
  CpuModel model(ModelFiles::open(model_path), Precision::exact, kernels(), team);
  std::ifstream file(golden);
  const nlohmann::json json = nlohmann::json::parse(file);
  std::filesystem::create_directories(folder);
  ForwardOutput output;
  for (const auto& prompt : json["prompts"]) {
    std::vector<TokenId> tokens;
    for (const auto& id : prompt["ids"]) tokens.emplace_back(id.get<std::int32_t>());
    const auto cache = model.new_cache(tokens.size());
    const SequenceStep step{.cache = cache.get(), .tokens = tokens, .logits = LogitRows::all};
    model.forward(std::span(&step, 1), output, nullptr);
    const std::size_t count = output.logit_rows * output.vocabulary;
    write_npy(std::filesystem::path(folder) / (prompt["name"].get<std::string>() + ".npy"),
              output.logits.span().first(count), output.logit_rows, output.vocabulary);
  }
  return 0;
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: dump_logits MODEL engine.json FOLDER\n");
    return 2;
  }
  try {
    return fathom::dump(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "dump_logits: {}\n", error.what());
    return 1;
  }
}
