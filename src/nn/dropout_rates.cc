#include "nn/dropout_rates.h"

#include <filesystem>
#include <string_view>

#include "formats/json_file.h"

namespace fathom {
namespace {

constexpr std::size_t largest_config = std::size_t{1} << 24;

double rate_of(const JsonFields& config, std::string_view key, double otherwise) {
  const double rate = config.find_float(key).value_or(otherwise);
  if (rate < 0 || rate >= 1) config.fail(key, "a probability from 0 to below 1 expected");
  return rate;
}

}  // namespace

DropoutRates dropout_rates(const ModelFiles& files) {
  const std::filesystem::path folder(files.path);
  const nlohmann::json json = std::filesystem::is_directory(folder)
                                  ? read_json_object(folder / "config.json", largest_config)
                                  : nlohmann::json::object();
  const JsonFields config((folder / "config.json").string(), json);
  switch (files.config.family) {
    case ModelFamily::gpt2:
      return {.embedding = rate_of(config, "embd_pdrop", 0.1),
              .attention = rate_of(config, "attn_pdrop", 0.1),
              .residual = rate_of(config, "resid_pdrop", 0.1)};
    case ModelFamily::opt:
      return {.embedding = 0,
              .attention = rate_of(config, "attention_dropout", 0),
              .residual = rate_of(config, "dropout", 0.1)};
    default:
      return {.embedding = 0, .attention = rate_of(config, "attention_dropout", 0), .residual = 0};
  }
}

}  // namespace fathom
