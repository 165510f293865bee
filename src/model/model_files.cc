#include "model/model_files.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/gguf.h"
#include "formats/huggingface_folder.h"
#include "formats/json_file.h"
#include "model/gguf_names.h"
#include "model/weight_types.h"

namespace fathom {
namespace {

// A model may have more embedding rows than its tokenizer has tokens (padding), not fewer.
void check_vocabulary(const std::string& path, const ModelConfig& config,
                      const Tokenizer& tokenizer) {
  if (tokenizer.vocabulary_size() > config.vocabulary) {
    throw FileError(path, "vocabulary",
                    fmt::format("the tokenizer has {} tokens, the embedding only {} rows",
                                tokenizer.vocabulary_size(), config.vocabulary));
  }
}

TokenId checked_token(const std::string& path, std::string_view key, std::uint64_t id,
                      const Tokenizer& tokenizer) {
  if (id >= tokenizer.vocabulary_size()) {
    throw FileError(
        path, key,
        fmt::format("token {} found, the vocabulary has {}", id, tokenizer.vocabulary_size()));
  }
  return TokenId{static_cast<std::int32_t>(id)};
}

void add_end_token(std::vector<TokenId>& tokens, TokenId token) {
  if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
}

ModelFiles open_gguf(const std::filesystem::path& path) {
  const GgufFile file = GgufFile::open(path);
  ModelConfig config = read_config(file);
  ModelTensors tensors = find_tensors(file.tensors(), config, TensorNaming::gguf);
  ModelFiles model{.path = path.string(),
                   .name = path.filename().string(),
                   .config = std::move(config),
                   .tensors = std::move(tensors),
                   .source = file.tensors(),
                   .tokenizer = Tokenizer::from_gguf(file),
                   .chat_template = std::nullopt,
                   .end_tokens = {},
                   .bos_text = {},
                   .eos_text = {}};
  check_vocabulary(model.path, model.config, model.tokenizer);
  if (const std::string* const name = file.find_string("general.name")) model.name = *name;
  if (const std::string* const text = file.find_string("tokenizer.chat_template")) {
    model.chat_template = *text;
  }
  const auto token_of = [&](const std::string& key) -> std::optional<TokenId> {
    const auto id = file.find_unsigned(key);
    if (!id) return std::nullopt;
    return checked_token(model.path, key, *id, model.tokenizer);
  };
  if (const auto bos = token_of("tokenizer.ggml.bos_token_id")) {
    model.bos_text = model.tokenizer.bytes(*bos);
  }
  if (const auto eos = token_of("tokenizer.ggml.eos_token_id")) {
    model.eos_text = model.tokenizer.bytes(*eos);
    add_end_token(model.end_tokens, *eos);
  }
  for (const char* const key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    if (const auto token = token_of(key)) add_end_token(model.end_tokens, *token);
  }
  return model;
}

ModelFiles open_folder(const std::filesystem::path& path) {
  HuggingFaceFolder folder = HuggingFaceFolder::open(path);
  const JsonFields json((path / "config.json").string(), folder.config);
  ModelConfig config = read_config(json);
  ModelTensors tensors = find_tensors(folder.tensors, config, TensorNaming::hugging_face);
  Tokenizer tokenizer = Tokenizer::from_folder(path, config.vocabulary);
  ModelFiles model{.path = path.string(),
                   .name = std::filesystem::weakly_canonical(path).filename().string(),
                   .config = std::move(config),
                   .tensors = std::move(tensors),
                   .source = folder.tensors,
                   .tokenizer = std::move(tokenizer),
                   .chat_template = std::move(folder.chat_template),
                   .end_tokens = {},
                   .bos_text = {},
                   .eos_text = {}};
  check_vocabulary(model.path, model.config, model.tokenizer);
  const auto add_ends = [&](const JsonFields& fields) {
    const auto ids = fields.find_one_or_more_unsigned("eos_token_id");
    if (!ids) return;
    for (const std::uint64_t id : *ids) {
      add_end_token(model.end_tokens,
                    checked_token(fields.file(), "eos_token_id", id, model.tokenizer));
    }
  };
  // What generation_config.json says of the end goes before config.json, as in transformers.
  if (folder.generation_config) {
    add_ends(JsonFields((path / "generation_config.json").string(), *folder.generation_config));
  }
  if (model.end_tokens.empty()) add_ends(json);
  model.bos_text = folder.special_token("bos_token");
  model.eos_text = folder.special_token("eos_token");
  return model;
}

void add(PartSize& size, const TensorView& tensor) {
  size.parameters += tensor.elements();
  size.bytes += tensor.used_bytes();
}

void add(PartSize& size, const std::optional<TensorView>& tensor) {
  if (tensor) add(size, *tensor);
}

void add(PartSize& size, const LinearTensors& linear) {
  PartSize weight;
  add(weight, linear.weight);
  if (linear.columns) {  // the share of this map's outputs
    weight.parameters = weight.parameters / linear.weight.shape[1] * linear.columns->count;
    weight.bytes = weight.bytes / linear.weight.shape[1] * linear.columns->count;
  }
  size.parameters += weight.parameters;
  size.bytes += weight.bytes;
  add(size, linear.bias);
}

void add(PartSize& size, const NormTensors& norm) {
  add(size, norm.weight);
  add(size, norm.bias);
}

template <class Tensors>
void add_if_there(PartSize& size, const std::optional<Tensors>& tensors) {
  if (tensors) add(size, *tensors);
}

}  // namespace

ModelFiles ModelFiles::open(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::is_directory(status)) return open_folder(path);
  if (!std::filesystem::exists(status)) {
    throw FileError(path.string(), "", "no such file or folder");
  }
  return open_gguf(path);
}

void ModelFiles::convert_weights(TensorType type) {
  for_each_weight(tensors, [&](const GgufWeight& weight, TensorView& tensor) {
    const TensorUse use = tensor_use(weight.name, tensor.shape.size(), config.tied_head);
    if (use == TensorUse::precise) return;  // read as float32 whatever its type is
    const TensorType used = weight_type(type, use, weight.shape());
    tensor.converted = used == tensor.type ? std::nullopt : std::optional(used);
  });
}

PartSize ModelSizes::total() const {
  PartSize sum;
  const auto include = [&](const PartSize& part) {
    sum.parameters += part.parameters;
    sum.bytes += part.bytes;
  };
  include(embedding);
  for (const PartSize& layer : layers) include(layer);
  include(output_norm);
  include(head);
  return sum;
}

ModelSizes model_sizes(const ModelTensors& tensors) {
  ModelSizes sizes;
  add(sizes.embedding, tensors.embedding);
  add(sizes.embedding, tensors.positions);
  add_if_there(sizes.embedding, tensors.project_in);
  for (const LayerTensors& layer : tensors.layers) {
    PartSize size;
    add(size, layer.attention_norm);
    add(size, layer.query);
    add(size, layer.key);
    add(size, layer.value);
    add_if_there(size, layer.query_norm);
    add_if_there(size, layer.key_norm);
    add(size, layer.attention_output);
    add_if_there(size, layer.attention_output_norm);
    add(size, layer.ffn_norm);
    add_if_there(size, layer.gate);
    add(size, layer.up);
    add(size, layer.down);
    add_if_there(size, layer.ffn_output_norm);
    sizes.layers.push_back(size);
  }
  add_if_there(sizes.output_norm, tensors.output_norm);
  add_if_there(sizes.output_norm, tensors.project_out);
  add(sizes.head, tensors.head);
  return sizes;
}

TokenBytes stored_token_bytes(const ModelTensors& tensors, const ModelConfig& config,
                              std::size_t cache_element_bytes) {
  const ModelSizes sizes = model_sizes(tensors);
  TokenBytes bytes;
  bytes.head =
      sizes.output_norm.bytes + (tensors.head ? *tensors.head : tensors.embedding).used_bytes();
  for (const PartSize& layer : sizes.layers) bytes.layers.push_back(layer.bytes);
  bytes.cache_per_position = 2 * config.kv_width() * cache_element_bytes;
  return bytes;
}

}  // namespace fathom
