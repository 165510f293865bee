#include "formats/huggingface_folder.h"

#include <map>
#include <memory>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/json_file.h"
#include "formats/printable.h"
#include "formats/safetensors.h"

namespace fathom {
namespace {

using nlohmann::json;

constexpr std::size_t largest_config = std::size_t{16} << 20U;
constexpr std::size_t largest_index = std::size_t{64} << 20U;
constexpr std::size_t largest_template = std::size_t{1} << 20U;

bool is_file(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

json read_config(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  if (!is_file(file)) {
    throw FileError(folder.string(), "config.json", "missing; a Hugging Face model folder has it");
  }
  return read_json_object(file, largest_config);
}

std::optional<json> read_optional(const std::filesystem::path& file) {
  if (!is_file(file)) return std::nullopt;
  return read_json_object(file, largest_config);
}

std::filesystem::path find_tokenizer(const std::filesystem::path& folder) {
  std::filesystem::path file = folder / "tokenizer.json";
  if (is_file(file)) return file;
  throw FileError(folder.string(), "tokenizer.json",
                  is_file(folder / "tokenizer.model")
                      ? "missing; tokenizer.model (SentencePiece) is not supported"
                      : "missing");
}

/// Of the chat templates that tokenizer_config.json may list by name, the one named "default".
std::string default_template(const JsonFields& fields, const json& list) {
  for (const json& entry : list) {
    const JsonFields named(fields.file(), entry);
    if (named.require_string("name") == "default") return named.require_string("template");
  }
  fields.fail("chat_template", "none is named 'default'");
}

std::optional<std::string> find_chat_template(const std::filesystem::path& folder,
                                              const std::optional<json>& tokenizer_config) {
  const std::filesystem::path file = folder / "chat_template.jinja";
  if (is_file(file)) return read_text_file(file, largest_template);
  if (!tokenizer_config.has_value()) return std::nullopt;
  const JsonFields fields((folder / "tokenizer_config.json").string(), *tokenizer_config);
  const auto where = tokenizer_config->find("chat_template");
  if (where != tokenizer_config->end() && where->is_array()) {
    return default_template(fields, *where);
  }
  const std::string* const text = fields.find_string("chat_template");
  return text == nullptr ? std::nullopt : std::optional(*text);
}

/// A shard is named by a file inside the folder, never by a way out of it.
bool is_shard_name(std::string_view name) {
  return name.ends_with(".safetensors") &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

using ShardNames = std::map<std::string, std::set<std::string, std::less<>>, std::less<>>;

/// For each shard the tensors that the index says are in it.
ShardNames read_index(const std::filesystem::path& index_file) {
  const json index = read_json_object(index_file, largest_index);
  const JsonFields fields(index_file.string(), index);
  const std::optional<JsonFields> weight_map = fields.find_object("weight_map");
  if (!weight_map.has_value()) fields.fail("weight_map", "missing; an object expected");
  ShardNames shards;
  for (const auto& [tensor, value] : weight_map->object().items()) {
    const std::string& shard = weight_map->require_string(tensor);
    if (!is_shard_name(shard)) {
      weight_map->fail(tensor, fmt::format("shard {} found, the name of a .safetensors file in "
                                           "the folder expected",
                                           printable_name(shard)));
    }
    shards[shard].insert(tensor);
  }
  if (shards.empty()) fields.fail("weight_map", "it is empty");
  return shards;
}

TensorSource open_shards(const std::filesystem::path& folder,
                         const std::filesystem::path& index_file) {
  TensorSource all(folder.string());
  for (const auto& [shard, names] : read_index(index_file)) {
    const auto tensors = std::make_shared<const TensorSource>(open_safetensors(folder / shard));
    for (const std::string& name : names) {
      if (tensors->find(name) == nullptr) {
        throw FileError(tensors->origin(), fmt::format("tensor {}", printable_name(name)),
                        fmt::format("missing; {} says it is here", index_file.filename().string()));
      }
    }
    for (const auto& [name, tensor] : tensors->tensors()) {
      if (!names.contains(name)) {
        throw FileError(tensors->origin(), fmt::format("tensor {}", printable_name(name)),
                        fmt::format("{} does not say it is here", index_file.filename().string()));
      }
      all.add(tensor);
    }
    all.keep_alive(tensors);
  }
  return all;
}

TensorSource open_weights(const std::filesystem::path& folder) {
  if (const auto file = folder / "model.safetensors"; is_file(file)) return open_safetensors(file);
  if (const auto file = folder / "model.safetensors.index.json"; is_file(file)) {
    return open_shards(folder, file);
  }
  for (const std::string_view name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (is_file(folder / name)) {
      throw FileError(folder.string(), name,
                      "weights in PyTorch's .bin files are not supported yet; model.safetensors or "
                      "model.safetensors.index.json expected");
    }
  }
  throw FileError(folder.string(), "",
                  "no weights found; model.safetensors or model.safetensors.index.json expected");
}

}  // namespace

HuggingFaceFolder HuggingFaceFolder::open(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    throw FileError(path.string(), "", "not a folder");
  }
  json config = read_config(path);
  std::optional<json> tokenizer_config = read_optional(path / "tokenizer_config.json");
  std::optional<std::string> chat_template = find_chat_template(path, tokenizer_config);
  return {.path = path,
          .config = std::move(config),
          .generation_config = read_optional(path / "generation_config.json"),
          .tokenizer_config = std::move(tokenizer_config),
          .tokenizer_file = find_tokenizer(path),
          .chat_template = std::move(chat_template),
          .tensors = open_weights(path)};
}

}  // namespace fathom
