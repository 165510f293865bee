#include "formats/huggingface_folder.h"

#include <array>
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
#include "formats/torch_checkpoint.h"

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

/// A kind of file that holds the weights, in one file or in shards that an index names.
struct WeightFiles {
  std::string_view file;
  std::string_view index;
  std::string_view extension;  // of shards
  TensorSource (*open)(const std::filesystem::path& path);
};

// The first that is there is read: a folder with both was published with the same weights twice.
constexpr std::array<WeightFiles, 2> weight_files{{
    {"model.safetensors", "model.safetensors.index.json", ".safetensors", open_safetensors},
    {"pytorch_model.bin", "pytorch_model.bin.index.json", ".bin", open_torch_checkpoint},
}};

/// A shard is named by a file inside the folder, never by a way out of it.
bool is_shard_name(std::string_view name, std::string_view extension) {
  return name.ends_with(extension) &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

using ShardNames = std::map<std::string, std::set<std::string, std::less<>>, std::less<>>;

/// For each shard the tensors that the index says are in it.
ShardNames read_index(const std::filesystem::path& index_file, std::string_view extension) {
  const json index = read_json_object(index_file, largest_index);
  const JsonFields fields(index_file.string(), index);
  const std::optional<JsonFields> weight_map = fields.find_object("weight_map");
  if (!weight_map.has_value()) fields.fail("weight_map", "missing; an object expected");
  ShardNames shards;
  for (const auto& [tensor, value] : weight_map->object().items()) {
    const std::string& shard = weight_map->require_string(tensor);
    if (!is_shard_name(shard, extension)) {
      weight_map->fail(tensor, fmt::format("shard {} found, the name of a {} file in the folder "
                                           "expected",
                                           printable_name(shard), extension));
    }
    shards[shard].insert(tensor);
  }
  if (shards.empty()) fields.fail("weight_map", "it is empty");
  return shards;
}

/// The tensors in a shard and those that the index says are in it must be the same.
void check_shard(const TensorSource& shard, const std::set<std::string, std::less<>>& names,
                 std::string_view index) {
  const auto fail = [&](const std::string& name, std::string_view problem) {
    throw FileError(shard.origin(), fmt::format("tensor {}", printable_name(name)), problem);
  };
  for (const std::string& name : names) {
    if (!shard.tensors().contains(name) && !shard.refused().contains(name)) {
      fail(name, fmt::format("missing; {} says it is here", index));
    }
  }
  const auto require_listed = [&](const std::string& name) {
    if (!names.contains(name)) fail(name, fmt::format("{} does not say it is here", index));
  };
  for (const auto& entry : shard.tensors()) require_listed(entry.first);
  for (const auto& entry : shard.refused()) require_listed(entry.first);
}

TensorSource open_shards(const std::filesystem::path& folder, const WeightFiles& files) {
  TensorSource all(folder.string());
  for (const auto& [file, names] : read_index(folder / files.index, files.extension)) {
    const auto shard = std::make_shared<const TensorSource>(files.open(folder / file));
    check_shard(*shard, names, files.index);
    for (const auto& [name, tensor] : shard->tensors()) all.add(tensor);
    for (const auto& [name, why] : shard->refused()) all.refuse(name, why);
    all.keep_alive(shard);
  }
  return all;
}

TensorSource open_weights(const std::filesystem::path& folder) {
  for (const WeightFiles& files : weight_files) {
    if (is_file(folder / files.file)) return files.open(folder / files.file);
    if (is_file(folder / files.index)) return open_shards(folder, files);
  }
  throw FileError(folder.string(), "",
                  "no weights found; model.safetensors, pytorch_model.bin, or one of them with "
                  ".index.json expected");
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
          .chat_template = std::move(chat_template),
          .tensors = open_weights(path)};
}

std::string HuggingFaceFolder::special_token(std::string_view key) const {
  if (!tokenizer_config) return {};
  const JsonFields fields((path / "tokenizer_config.json").string(), *tokenizer_config);
  const auto where = tokenizer_config->find(key);
  if (where == tokenizer_config->end() || where->is_null()) return {};
  if (where->is_object()) return fields.find_object(key)->require_string("content");
  return fields.require_string(key);
}

}  // namespace fathom
