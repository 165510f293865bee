#include "model/gguf_export.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/gguf.h"
#include "formats/huggingface_folder.h"
#include "formats/json_file.h"
#include "formats/printable.h"
#include "formats/quantize.h"
#include "model/config_checks.h"
#include "model/gguf_names.h"
#include "model/model_files.h"
#include "model/weight_types.h"
#include "text/gguf_tokenizer.h"

namespace fathom {
namespace {

constexpr std::string_view file_type_key = "general.file_type";
constexpr std::string_view quantization_version_key = "general.quantization_version";
constexpr std::string_view alignment_key = "general.alignment";
constexpr std::uint32_t quantization_version = 2;  // of the blocks in docs/formats.md

// Converted at once: enough for all threads, little for any machine.
constexpr std::size_t piece_bytes = std::size_t{8} << 20;

/// llama.cpp's number of a file whose matrices are of a type.
std::uint32_t file_type(TensorType type) {
  switch (type) {
    case TensorType::F32:
      return 0;
    case TensorType::F16:
      return 1;
    case TensorType::Q4_0:
      return 2;
    case TensorType::Q4_1:
      return 3;
    case TensorType::Q8_0:
      return 7;
    case TensorType::BF16:
      return 32;
    default:
      throw std::logic_error("no file is converted to this type");
  }
}

std::uint32_t as_uint32(std::size_t value) { return static_cast<std::uint32_t>(value); }

// ---- What a folder's config.json becomes --------------------------------------------------------

/// Writes keys that begin with the architecture's name.
class ArchitectureKeys {
 public:
  ArchitectureKeys(GgufHeader& header, std::string_view architecture)
      : header_(header), architecture_(architecture) {}

  template <class T>
  void number(std::string_view key, T value) const {
    header_.add_number(name(key), value);
  }
  void string(std::string_view key, std::string_view value) const {
    header_.add_string(name(key), value);
  }
  void boolean(std::string_view key, bool value) const { header_.add_bool(name(key), value); }
  void bools(std::string_view key, const std::vector<bool>& values) const {
    header_.add_bools(name(key), values);
  }

 private:
  [[nodiscard]] std::string name(std::string_view key) const {
    return fmt::format("{}.{}", architecture_, key);
  }

  GgufHeader& header_;
  std::string architecture_;
};

void add_scaling(const ArchitectureKeys& keys, const YarnScaling& yarn, const std::string& file) {
  if (!yarn.truncate) {
    throw FileError(file, "rope_scaling.truncate", "false found, which GGUF files cannot say");
  }
  keys.string("rope.scaling.type", "yarn");
  keys.number("rope.scaling.factor", static_cast<float>(yarn.factor));
  keys.number("rope.scaling.original_context_length",
              static_cast<std::uint32_t>(std::lround(yarn.original_context)));
  // A GGUF file's factor comes on top of the usual one.
  const double factor = yarn.attention_factor / yarn_attention_factor(yarn.factor);
  if (factor != 1) keys.number("rope.scaling.attn_factor", static_cast<float>(factor));
  const YarnScaling usual;
  if (yarn.beta_fast != usual.beta_fast) {
    keys.number("rope.scaling.yarn_beta_fast", static_cast<float>(yarn.beta_fast));
  }
  if (yarn.beta_slow != usual.beta_slow) {
    keys.number("rope.scaling.yarn_beta_slow", static_cast<float>(yarn.beta_slow));
  }
}

/// Which of the rotations all files of the architecture have in a layer.
std::optional<std::size_t> usual_rotary(const ModelConfig& config, std::size_t layer) {
  if (config.rotaries.empty()) return std::nullopt;
  if (config.family == ModelFamily::smollm3 && (layer + 1) % 4 == 0) return std::nullopt;
  const bool slides = config.attention[layer].window.has_value();
  return config.family == ModelFamily::gemma3 && slides ? 1 : 0;
}

/// n if all layers but every n-th slide, 0 if all do.
std::optional<std::uint32_t> period(const std::vector<bool>& slides) {
  const auto first = std::ranges::find(slides, false);
  if (first == slides.end()) return 0;
  const auto n = static_cast<std::size_t>(first - slides.begin()) + 1;
  for (std::size_t l = 0; l < slides.size(); ++l) {
    if (slides[l] != ((l + 1) % n != 0)) return std::nullopt;
  }
  return as_uint32(n);
}

/// Which layers see only a window, as fathom's reader takes it; all of them if no pattern is said.
/// Throws FileError where layers rotate otherwise than all files of the architecture do, or windows
/// differ, which no key can say.
void add_windows(const ArchitectureKeys& keys, const ModelConfig& config, const std::string& file,
                 std::vector<std::string>& notes) {
  std::optional<std::size_t> window;
  std::vector<bool> slides;
  for (std::size_t l = 0; l < config.layers; ++l) {
    const LayerAttention& layer = config.attention[l];
    if (layer.rotary != usual_rotary(config, l) ||
        (layer.window && window.value_or(*layer.window) != *layer.window)) {
      throw FileError(
          file, "",
          fmt::format("what layer {} has of rotation and windows is not what GGUF files "
                      "of this architecture can say",
                      l + 1));
    }
    if (layer.window) window = layer.window;
    slides.push_back(layer.window.has_value());
  }
  const bool gemma = config.family == ModelFamily::gemma3;
  if (!window) {
    if (!gemma) return;
    throw FileError(file, "layer_types", "no layer slides, which GGUF files of gemma3 cannot say");
  }
  keys.number("attention.sliding_window", as_uint32(*window));
  if (const auto n = period(slides); gemma && n) {
    keys.number("attention.sliding_window_pattern", *n);
  } else if (std::ranges::count(slides, false) != 0) {
    keys.bools("attention.sliding_window_pattern", slides);
  }
  if (!gemma) {
    notes.push_back(
        fmt::format("llama.cpp reads no windows from files of this architecture; there all layers "
                    "see more than "
                    "the last {} positions",
                    *window));
  }
}

/// The factor on the products of queries and keys, where it is not the usual one. Throws FileError
/// if layers differ.
void add_attention_scale(const ArchitectureKeys& keys, const ModelConfig& config,
                         const std::string& file, std::vector<std::string>& notes) {
  ModelConfig usual = config;
  set_full_attention(usual);
  const float scale = config.attention.front().scale;
  if (std::ranges::any_of(config.attention, [&](const auto& a) { return a.scale != scale; })) {
    throw FileError(file, "", "layers scale attention differently, which GGUF files cannot say");
  }
  if (scale == usual.attention.front().scale) return;
  keys.number("attention.scale", scale);
  notes.push_back(fmt::format(
      "llama.cpp does not read the scale of attention, {:g}, from files of this architecture",
      scale));
}

/// fathom's own keys, where they do not say the default (docs/formats.md).
void add_opt(const ArchitectureKeys& keys, const ModelConfig& config) {
  if (config.embedding_width != config.width) {
    keys.number("word_embed_proj_dim", as_uint32(config.embedding_width));
  }
  const bool norms_before = config.norm.placement == NormPlacement::before;
  if (!norms_before) keys.boolean("do_layer_norm_before", false);
  if (norms_before && config.norm.final_norm == Presence::never) {
    keys.boolean("remove_final_layer_norm", true);
  }
  if (config.norm.weights == Presence::never) keys.boolean("layer_norm_elementwise_affine", false);
  if (config.ffn_bias == Presence::never) keys.boolean("enable_bias", false);
  if (config.activation != family_defaults(config.family).activation) {
    keys.string("activation_function", name(config.activation));
  }
}

void add_rotaries(const ArchitectureKeys& keys, const ModelConfig& config,
                  const std::string& file) {
  const RotaryConfig& rotary = config.rotaries.front();
  keys.number("rope.dimension_count", as_uint32(rotary.dimensions));
  keys.number("rope.freq_base", static_cast<float>(rotary.base));
  if (const auto* const linear = std::get_if<LinearScaling>(&rotary.scaling)) {
    keys.string("rope.scaling.type", "linear");
    keys.number("rope.scaling.factor", static_cast<float>(linear->factor));
  }
  if (const auto* const yarn = std::get_if<YarnScaling>(&rotary.scaling)) {
    add_scaling(keys, *yarn, file);
  }
  if (config.rotaries.size() == 1) return;
  const RotaryConfig& sliding = config.rotaries[1];
  if (!std::holds_alternative<NoScaling>(sliding.scaling)) {
    throw FileError(file, "rope_parameters.sliding_attention",
                    "a scaling found, which GGUF files of this architecture cannot say");
  }
  keys.number("rope.freq_base_swa", static_cast<float>(sliding.base));
}

void add_config(const ArchitectureKeys& keys, const ModelConfig& config, const std::string& file,
                std::vector<std::string>& notes) {
  const bool opt = config.family == ModelFamily::opt;
  if (const Activation usual = family_defaults(config.family).activation;
      !opt && config.activation != usual) {
    throw FileError(file, "",
                    fmt::format("the activation is {}, GGUF files of this architecture can only "
                                "say {}",
                                name(config.activation), name(usual)));
  }
  add_windows(keys, config, file, notes);
  add_attention_scale(keys, config, file, notes);
  keys.number("block_count", as_uint32(config.layers));
  keys.number("context_length", as_uint32(config.context));
  keys.number("embedding_length", as_uint32(config.width));
  keys.number("feed_forward_length", as_uint32(config.ffn_width));
  keys.number("attention.head_count", as_uint32(config.heads));
  keys.number("attention.head_count_kv", as_uint32(config.kv_heads));
  keys.number(config.norm.kind == NormKind::layer ? "attention.layer_norm_epsilon"
                                                  : "attention.layer_norm_rms_epsilon",
              config.norm.epsilon);
  keys.number("vocab_size", as_uint32(config.vocabulary));
  if (config.query_width() != config.width) {
    keys.number("attention.key_length", as_uint32(config.head_dim));
    keys.number("attention.value_length", as_uint32(config.head_dim));
  }
  if (opt) add_opt(keys, config);
  if (!config.rotaries.empty()) add_rotaries(keys, config, file);
}

/// llama.cpp has keys for YaRN's betas, but passes over them in most architectures.
void note_betas(const RotaryScaling& scaling, std::vector<std::string>& notes) {
  const auto* const yarn = std::get_if<YarnScaling>(&scaling);
  const YarnScaling usual;
  if (yarn == nullptr ||
      (yarn->beta_fast == usual.beta_fast && yarn->beta_slow == usual.beta_slow)) {
    return;
  }
  notes.push_back(fmt::format(
      "llama.cpp does not read YaRN's beta_fast and beta_slow from files of this architecture; it "
      "takes them as --yarn-beta-fast {:g} --yarn-beta-slow {:g}",
      yarn->beta_fast, yarn->beta_slow));
}

/// What each rotary frequency is divided by, where GGUF files say a scaling in that way: the
/// float32 numbers nearest to the quotients that give back the frequencies to the last bit.
std::vector<float> rotary_factors(const RotaryConfig& rotary) {
  if (!std::holds_alternative<Llama3Scaling>(rotary.scaling)) return {};
  const std::vector<float> wanted = rotary_frequencies(rotary);
  RotaryConfig read_back = rotary;
  read_back.scaling = NoScaling{};
  std::vector<float> factors = rotary_frequencies(read_back);
  for (std::size_t i = 0; i < factors.size(); ++i) factors[i] /= wanted[i];
  std::vector<float> above = factors;
  std::vector<float> below = factors;
  const auto take_exact = [&](const std::vector<float>& candidates) {
    read_back.scaling = FrequencyFactors{factors};
    const std::vector<float> now = rotary_frequencies(read_back);
    read_back.scaling = FrequencyFactors{candidates};
    const std::vector<float> then = rotary_frequencies(read_back);
    for (std::size_t i = 0; i < factors.size(); ++i) {
      if (now[i] != wanted[i] && then[i] == wanted[i]) factors[i] = candidates[i];
    }
  };
  for (int distance = 1; distance <= 2; ++distance) {
    for (float& factor : above) factor = std::nextafter(factor, HUGE_VALF);
    for (float& factor : below) factor = std::nextafter(factor, 0.0F);
    take_exact(above);
    take_exact(below);
  }
  return factors;
}

// ---- What its tokenizer files become ------------------------------------------------------------

/// The ids of special tokens in a folder's files.
class SpecialTokenIds {
 public:
  SpecialTokenIds(const HuggingFaceFolder& folder, const ModelFiles& files)
      : folder_(folder),
        config_((folder.path / "config.json").string(), folder.config),
        files_(files) {}

  /// By its text in tokenizer_config.json, else by its id in config.json.
  [[nodiscard]] std::optional<TokenId> find(std::string_view name) const {
    if (const auto id = named(name)) return id;
    const auto ids = config_.find_one_or_more_unsigned(fmt::format("{}_id", name));
    if (!ids || ids->empty() || ids->front() >= files_.config.vocabulary) return std::nullopt;
    return TokenId(static_cast<std::int32_t>(ids->front()));
  }
  [[nodiscard]] std::optional<TokenId> named(std::string_view name) const {
    const std::string text = folder_.special_token(name);
    return text.empty() ? std::nullopt : files_.tokenizer.find(text);
  }
  /// All that end an answer, first the one that the tokenizer calls so.
  [[nodiscard]] std::vector<TokenId> ends() const {
    std::vector<TokenId> ids = files_.end_tokens;
    const auto stated = find("eos_token");
    if (!stated) return ids;
    if (ids.empty()) return {*stated};
    const auto where = std::find(ids.begin(), ids.end(), *stated);
    if (where != ids.end()) std::rotate(ids.begin(), where, where + 1);
    return ids;
  }

 private:
  const HuggingFaceFolder& folder_;
  JsonFields config_;
  const ModelFiles& files_;
};

void add_tokenizer(GgufHeader& header, const HuggingFaceFolder& folder, const ModelFiles& files,
                   std::vector<std::string>& notes) {
  const GgufTokenizer tokenizer = gguf_tokenizer_of_folder(folder.path, files.config.vocabulary);
  header.add_string("tokenizer.ggml.model", tokenizer.model);
  header.add_string("tokenizer.ggml.pre", tokenizer.pre_tokenizer);
  header.add_strings("tokenizer.ggml.tokens", tokenizer.tokens);
  header.add_numbers("tokenizer.ggml.token_type", std::span(tokenizer.types));
  if (tokenizer.scores.empty()) {
    header.add_strings("tokenizer.ggml.merges", tokenizer.merges);
  } else {
    header.add_numbers("tokenizer.ggml.scores", std::span(tokenizer.scores));
  }
  if (tokenizer.space_prefix) {
    header.add_bool("tokenizer.ggml.add_space_prefix", *tokenizer.space_prefix);
  }

  const SpecialTokenIds ids(folder, files);
  const auto add_id = [&](std::string_view key, std::optional<TokenId> id) {
    if (id) header.add_number(key, static_cast<std::uint32_t>(id->value));
  };
  add_id("tokenizer.ggml.bos_token_id",
         tokenizer.beginning ? tokenizer.beginning : ids.find("bos_token"));
  const std::vector<TokenId> ends = ids.ends();
  constexpr std::array<std::string_view, 3> end_keys{
      "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
  for (std::size_t i = 0; i < std::min(ends.size(), end_keys.size()); ++i) {
    add_id(end_keys[i], ends[i]);
  }
  if (ends.size() > end_keys.size()) {
    notes.push_back(fmt::format("{} tokens end an answer, of which the file names the first {}",
                                ends.size(), end_keys.size()));
  }
  const auto unknown = ids.named("unk_token");
  add_id("tokenizer.ggml.unknown_token_id", unknown ? unknown : tokenizer.unknown);
  add_id("tokenizer.ggml.padding_token_id", ids.find("pad_token"));
  header.add_bool("tokenizer.ggml.add_bos_token", tokenizer.beginning.has_value());
  if (files.chat_template) header.add_string("tokenizer.chat_template", *files.chat_template);
  notes.insert(notes.end(), tokenizer.notes.begin(), tokenizer.notes.end());
}

// ---- Tensors ------------------------------------------------------------------------------------

/// Rows of a tensor in its new type and order.
class TensorRows {
 public:
  TensorRows(const GgufExport::Tensor& tensor, const std::string& origin)
      : tensor_(tensor),
        origin_(origin),
        columns_(tensor.shape().back()),
        rows_(tensor.columns ? tensor.columns->count : tensor.source.elements() / columns_) {
    // Elements of a vector are ordered one by one, as rows of one element.
    if (tensor.source.shape.size() == 1 && !tensor.row_order.empty()) std::swap(rows_, columns_);
  }

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t row_bytes() const { return fathom::row_bytes(tensor_.type, columns_); }

  /// Rows `begin` and following, as many as `out` has room for.
  void convert(std::size_t begin, std::span<std::byte> out, ThreadTeam& team) const {
    const std::size_t size = row_bytes();
    team.run_shares(out.size() / size, 1, [&](std::size_t first, std::size_t last) {
      RowConverter converter(tensor_.source.type, tensor_.type, columns_);
      std::vector<std::byte> gathered(tensor_.columns ? converter.from_bytes() : 0);
      for (std::size_t r = first; r < last; ++r) {
        const std::size_t row =
            tensor_.row_order.empty() ? begin + r : tensor_.row_order[begin + r];
        try {
          converter.convert(source_row(row, converter.from_bytes(), gathered),
                            out.subspan(r * size, size));
          if (tensor_.offset != 0) add_offset(out.subspan(r * size, size));
        } catch (const InputError& error) {
          throw FileError(
              origin_, fmt::format("tensor {}, row {}", printable_name(tensor_.source.name), row),
              error.what());
        }
      }
    });
  }

 private:
  /// A row of the source, put together in `gathered` where it is a column there.
  [[nodiscard]] std::span<const std::byte> source_row(std::size_t row, std::size_t bytes,
                                                      std::span<std::byte> gathered) const {
    const std::span<const std::byte> all = tensor_.source.bytes;
    if (!tensor_.columns) return all.subspan(row * bytes, bytes);
    const std::size_t element = bytes / columns_;
    const std::size_t stride = tensor_.source.shape.back() * element;
    const std::size_t first = (tensor_.columns->first + row) * element;
    for (std::size_t i = 0; i < columns_; ++i) {
      std::memcpy(&gathered[i * element], &all[first + i * stride], element);
    }
    return gathered;
  }

  void add_offset(std::span<std::byte> row) const {
    for (std::size_t at = 0; at < row.size(); at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, &row[at], sizeof value);
      value += tensor_.offset;
      std::memcpy(&row[at], &value, sizeof value);
    }
  }

  const GgufExport::Tensor& tensor_;
  const std::string& origin_;
  std::size_t columns_;
  std::size_t rows_;
};

}  // namespace

std::vector<std::size_t> GgufExport::Tensor::shape() const {
  if (!columns) return source.shape;
  return {columns->count, source.shape.front()};
}

GgufExport GgufExport::open(const std::filesystem::path& path, std::optional<TensorType> type) {
  return std::filesystem::is_directory(path) ? of_folder(path, type) : of_file(path, type);
}

GgufExport GgufExport::of_folder(const std::filesystem::path& path,
                                 std::optional<TensorType> type) {
  const ModelFiles files = ModelFiles::open(path);
  const HuggingFaceFolder folder = HuggingFaceFolder::open(path);
  const ModelConfig& config = files.config;
  GgufExport result(type.value_or(files.tensors.embedding.type), files.source,
                    default_gguf_alignment);
  GgufHeader& header = result.header_;
  const GgufFamily family = gguf_family(config.family);
  header.add_string("general.architecture", family.architecture);
  header.add_string("general.type", "model");
  header.add_string("general.name", files.name);
  header.add_number(file_type_key, file_type(result.type_));
  header.add_number(quantization_version_key, quantization_version);
  add_config(ArchitectureKeys(header, family.architecture), config, (path / "config.json").string(),
             result.notes_);
  if (!config.rotaries.empty()) note_betas(config.rotaries.front().scaling, result.notes_);
  add_tokenizer(header, folder, files, result.notes_);

  const auto query_order =
      pairing_order(config.pairing, family.pairing, config.heads, config.head_dim);
  const auto key_order =
      pairing_order(config.pairing, family.pairing, config.kv_heads, config.head_dim);
  const auto factors = std::make_shared<const std::vector<float>>(
      config.rotaries.empty() ? std::vector<float>{} : rotary_factors(config.rotaries.front()));
  if (!factors->empty()) {
    result.source_.keep_alive(factors);
    result.add_tensor({.name = std::string(gguf_rotary_factors),
                       .type = TensorType::F32,
                       .source = {.name = std::string(gguf_rotary_factors),
                                  .type = TensorType::F32,
                                  .shape = {factors->size()},
                                  .bytes = std::as_bytes(std::span(*factors))}});
  }
  for (GgufWeight& weight : gguf_weights(files.tensors)) {
    using Kind = GgufWeight::Kind;
    const TensorUse use = tensor_use(weight.name, weight.tensor.shape.size(), config.tied_head);
    Tensor tensor{.name = std::move(weight.name),
                  .type = weight_type(result.type_, use, weight.shape()),
                  .source = std::move(weight.tensor),
                  .columns = weight.columns};
    if (weight.kind == Kind::query) tensor.row_order = query_order;
    if (weight.kind == Kind::key) tensor.row_order = key_order;
    if (weight.kind == Kind::norm) tensor.offset = config.norm.weight_offset;
    result.add_tensor(std::move(tensor));
  }
  result.note_changes();
  return result;
}

GgufExport GgufExport::of_file(const std::filesystem::path& path,
                               std::optional<TensorType> wanted) {
  const ModelFiles files = ModelFiles::open(path);
  if (!wanted) throw InputError(fmt::format("{}: say to which type to convert it", path.string()));
  const TensorType type = *wanted;
  const GgufFile file = GgufFile::open(path);
  GgufExport result(type, file.tensors(),
                    file.find_unsigned(alignment_key).value_or(default_gguf_alignment));
  for (const GgufEntry& entry : file.entries()) {
    if (entry.key == file_type_key) {
      result.header_.add_number(file_type_key, file_type(type));
    } else if (entry.key != quantization_version_key) {
      result.header_.add_entry(entry);
    }
  }
  if (!file.metadata().contains(file_type_key)) {
    result.header_.add_number(file_type_key, file_type(type));
  }
  result.header_.add_number(quantization_version_key, quantization_version);

  // In the file's order, which is that of its pages.
  std::vector<const TensorView*> views;
  for (const auto& [name, view] : file.tensors().tensors()) views.push_back(&view);
  std::ranges::sort(views, {}, [](const TensorView* view) { return view->bytes.data(); });
  for (const TensorView* const view : views) {
    const TensorUse use = tensor_use(view->name, view->shape.size(), files.config.tied_head);
    result.add_tensor(
        {.name = view->name, .type = weight_type(type, use, view->shape), .source = *view});
  }
  result.note_changes();
  return result;
}

void GgufExport::add_tensor(Tensor tensor) {
  header_.add_tensor(tensor.name, tensor.type, tensor.shape());
  tensors_.push_back(std::move(tensor));
}

void GgufExport::note_changes() {
  std::size_t in_half = 0;
  std::size_t requantized = 0;
  for (const Tensor& tensor : tensors_) {
    if (type_ != TensorType::F16 && tensor.type == TensorType::F16) ++in_half;
    const bool was_quantized = info(tensor.source.type).block_elements > 1;
    if (was_quantized && tensor.type != tensor.source.type) ++requantized;
  }
  if (in_half != 0) {
    notes_.push_back(fmt::format(
        "{} tensors have rows that are no multiple of {} elements, and are {} instead of {}",
        in_half, info(type_).block_elements, info(TensorType::F16).name, info(type_).name));
  }
  if (requantized != 0) {
    notes_.push_back(
        fmt::format("{} tensors were quantised already; what that lost stays lost", requantized));
  }
}

bool GgufExport::write(const std::filesystem::path& path, ThreadTeam& team,
                       const std::function<bool(std::uint64_t)>& go_on) const {
  GgufOutput output(path, header_);
  std::vector<std::byte> piece;
  std::uint64_t written = 0;
  for (const Tensor& tensor : tensors_) {
    const TensorRows rows(tensor, source_.origin());
    const std::size_t at_once = std::max<std::size_t>(1, piece_bytes / rows.row_bytes());
    for (std::size_t begin = 0; begin < rows.rows(); begin += at_once) {
      piece.resize(std::min(at_once, rows.rows() - begin) * rows.row_bytes());
      rows.convert(begin, piece, team);
      output.append(piece);
      written += piece.size();
      if (!go_on(written)) return false;
    }
    // Read for the last time.
    if (tensor.name != gguf_rotary_factors) release_resident(tensor.source.bytes);
  }
  output.commit();
  return true;
}

}  // namespace fathom
