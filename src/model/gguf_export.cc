#include "model/gguf_export.h"

#include <algorithm>
#include <array>
#include <cmath>
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

/// Which layers see only a window, as fathom's reader takes it; all of them if no pattern is said.
/// Throws FileError where layers rotate otherwise than all files of the architecture do, or windows
/// differ, which no key can say.
void add_windows(const ArchitectureKeys& keys, const ModelConfig& config, const std::string& file) {
  std::optional<std::size_t> window;
  std::vector<bool> slides;
  for (std::size_t l = 0; l < config.layers; ++l) {
    const LayerAttention& layer = config.attention[l];
    const bool rotates = config.family != ModelFamily::smollm3 || (l + 1) % 4 != 0;
    if (layer.rotary.has_value() != rotates ||
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
  if (!window) return;
  keys.number("attention.sliding_window", as_uint32(*window));
  if (std::ranges::count(slides, false) != 0)
    keys.bools("attention.sliding_window_pattern", slides);
}

void add_config(const ArchitectureKeys& keys, const ModelConfig& config, const std::string& file) {
  // Of all architectures that are written: no key says another.
  if (config.activation != Activation::silu) {
    throw FileError(file, "hidden_act", "GGUF files of this architecture can only say silu");
  }
  add_windows(keys, config, file);
  keys.number("block_count", as_uint32(config.layers));
  keys.number("context_length", as_uint32(config.context));
  keys.number("embedding_length", as_uint32(config.width));
  keys.number("feed_forward_length", as_uint32(config.ffn_width));
  keys.number("attention.head_count", as_uint32(config.heads));
  keys.number("attention.head_count_kv", as_uint32(config.kv_heads));
  keys.number("attention.layer_norm_rms_epsilon", config.norm.epsilon);
  keys.number("vocab_size", as_uint32(config.vocabulary));
  if (config.query_width() != config.width) {
    keys.number("attention.key_length", as_uint32(config.head_dim));
    keys.number("attention.value_length", as_uint32(config.head_dim));
  }
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
  header.add_strings("tokenizer.ggml.merges", tokenizer.merges);

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
        columns_(tensor.source.shape.back()),
        rows_(tensor.source.elements() / columns_) {
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
      for (std::size_t r = first; r < last; ++r) {
        const std::size_t row =
            tensor_.row_order.empty() ? begin + r : tensor_.row_order[begin + r];
        const std::size_t from = converter.from_bytes();
        try {
          converter.convert(tensor_.source.bytes.subspan(row * from, from),
                            out.subspan(r * size, size));
        } catch (const InputError& error) {
          throw FileError(
              origin_, fmt::format("tensor {}, row {}", printable_name(tensor_.source.name), row),
              error.what());
        }
      }
    });
  }

 private:
  const GgufExport::Tensor& tensor_;
  const std::string& origin_;
  std::size_t columns_;
  std::size_t rows_;
};

}  // namespace

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
  add_config(ArchitectureKeys(header, family.architecture), config,
             (path / "config.json").string());
  note_betas(config.rotaries.front().scaling, result.notes_);
  add_tokenizer(header, folder, files, result.notes_);

  const auto query_order =
      pairing_order(config.pairing, family.pairing, config.heads, config.head_dim);
  const auto key_order =
      pairing_order(config.pairing, family.pairing, config.kv_heads, config.head_dim);
  const auto factors =
      std::make_shared<const std::vector<float>>(rotary_factors(config.rotaries.front()));
  if (!factors->empty()) {
    result.source_.keep_alive(factors);
    result.add_tensor({.name = std::string(gguf_rotary_factors),
                       .type = TensorType::F32,
                       .source = {.name = std::string(gguf_rotary_factors),
                                  .type = TensorType::F32,
                                  .shape = {factors->size()},
                                  .bytes = std::as_bytes(std::span(*factors))},
                       .row_order = {}});
  }
  for (GgufWeight& weight : gguf_weights(files.tensors)) {
    using Rows = GgufWeight::Rows;
    const TensorUse use = tensor_use(weight.name, weight.tensor.shape.size(), config.tied_head);
    const TensorType stored = weight_type(result.type_, use, weight.tensor.shape);
    result.add_tensor({.name = std::move(weight.name),
                       .type = stored,
                       .source = std::move(weight.tensor),
                       .row_order = weight.rows == Rows::query_heads ? query_order
                                    : weight.rows == Rows::key_heads
                                        ? key_order
                                        : std::vector<std::uint32_t>{}});
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
    result.add_tensor({.name = view->name,
                       .type = weight_type(type, use, view->shape),
                       .source = *view,
                       .row_order = {}});
  }
  result.note_changes();
  return result;
}

void GgufExport::add_tensor(Tensor tensor) {
  header_.add_tensor(tensor.name, tensor.type, tensor.source.shape);
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
