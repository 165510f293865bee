#include "model/gguf_export.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/dequantize.h"
#include "formats/gguf.h"
#include "formats/huggingface_folder.h"
#include "formats/json_file.h"
#include "formats/printable.h"
#include "formats/quantize.h"
#include "model/gguf_config_writer.h"
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

// ---- What a folder's tokenizer files become
// -------------------------------------------------------

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

/// Adds an adapter's change to rows on their way to another type. One object for each thread.
class RowMerger {
 public:
  RowMerger(const MergedFactors& merged, TensorType from, TensorType to)
      : merged_(merged),
        from_(from),
        rank_(merged.factors.rank()),
        columns_(merged.factors.a.shape[1]),
        converter_(TensorType::F32, to, columns_),
        a_(merged.factors.a.elements()),
        b_row_(rank_),
        row_(columns_) {
    dequantize(merged.factors.a.type, merged.factors.a.bytes, a_);
  }

  /// `row` counts as the source's rows do. Throws InputError as RowConverter does.
  void convert(std::size_t row, std::span<const std::byte> source, std::span<std::byte> out) {
    dequantize(from_, source, row_);
    read_row(merged_.factors.b, merged_.row_order.empty() ? row : merged_.row_order[row], b_row_);
    for (std::size_t k = 0; k < rank_; ++k) {
      const float factor = merged_.factors.scale * b_row_[k];
      for (std::size_t c = 0; c < columns_; ++c) row_[c] += factor * a_[k * columns_ + c];
    }
    converter_.convert(std::as_bytes(std::span(row_)), out);
  }

 private:
  const MergedFactors& merged_;
  TensorType from_;
  std::size_t rank_;
  std::size_t columns_;
  RowConverter converter_;
  std::vector<float> a_;  // [rank][columns]
  std::vector<float> b_row_;
  std::vector<float> row_;
};

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
      std::optional<RowMerger> merger;
      if (tensor_.merged) merger.emplace(*tensor_.merged, tensor_.source.type, tensor_.type);
      std::vector<std::byte> gathered(tensor_.columns ? converter.from_bytes() : 0);
      for (std::size_t r = first; r < last; ++r) {
        const std::size_t row =
            tensor_.row_order.empty() ? begin + r : tensor_.row_order[begin + r];
        try {
          const auto source = source_row(row, converter.from_bytes(), gathered);
          const auto converted = out.subspan(r * size, size);
          merger ? merger->convert(row, source, converted) : converter.convert(source, converted);
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

GgufExport GgufExport::open(const std::filesystem::path& path, std::optional<TensorType> type) {
  return std::filesystem::is_directory(path) ? of_folder(path, type, nullptr)
                                             : of_file(path, type, nullptr);
}

GgufExport GgufExport::open_merged(const std::filesystem::path& path,
                                   std::optional<TensorType> type, const LoraAdapter& adapter) {
  return std::filesystem::is_directory(path) ? of_folder(path, type, &adapter)
                                             : of_file(path, type, &adapter);
}

void GgufExport::merge(const LoraAdapter& adapter, const ModelConfig& config) {
  source_.keep_alive(std::make_shared<const LoraAdapter>(adapter));
  // An adapter's rows pair the halves of a head, as all of Hugging Face's do.
  const auto order_of = [&](LinearRole role) -> std::vector<std::uint32_t> {
    const bool key = role == LinearRole::key;
    if (!key && role != LinearRole::query) return {};
    return pairing_order(RotaryPairing::halves, config.pairing,
                         key ? config.kv_heads : config.heads, config.head_dim);
  };
  TensorNames names = gguf_tensor_names;
  names.query_key_value = gguf_query_key_value;
  std::map<std::string, MergedFactors> changes;
  for (LayerIndex layer{0}; layer.value < config.depth(); ++layer) {
    for (const LinearRole role : linear_roles(config)) {
      const std::optional<LoraFactors>& factors = adapter.layers[layer.index()][role];
      if (!factors) continue;
      changes.emplace(fmt::format(fmt::runtime(name_of(names, role)), layer.index()) + ".weight",
                      MergedFactors{.factors = *factors, .row_order = order_of(role)});
    }
  }
  for (Tensor& tensor : tensors_) {
    if (const auto change = changes.find(tensor.name); change != changes.end()) {
      tensor.merged = std::move(change->second);
      changes.erase(change);
    }
  }
  if (!changes.empty()) {
    throw std::logic_error(changes.begin()->first + ": no tensor to merge an adapter into");
  }
}

GgufExport GgufExport::of_folder(const std::filesystem::path& path, std::optional<TensorType> type,
                                 const LoraAdapter* adapter) {
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
  add_gguf_config(header, config, (path / "config.json").string(), result.notes_);
  add_tokenizer(header, folder, files, result.notes_);

  const auto query_order =
      pairing_order(config.pairing, family.pairing, config.heads, config.head_dim);
  const auto key_order =
      pairing_order(config.pairing, family.pairing, config.kv_heads, config.head_dim);
  const auto factors = std::make_shared<const std::vector<float>>(gguf_rotary_divisors(config));
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
  if (adapter != nullptr) result.merge(*adapter, config);
  result.note_changes();
  return result;
}

GgufExport GgufExport::of_file(const std::filesystem::path& path, std::optional<TensorType> wanted,
                               const LoraAdapter* adapter) {
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
  if (adapter != nullptr) result.merge(*adapter, files.config);
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
    if (was_quantized && (tensor.merged || tensor.type != tensor.source.type)) ++requantized;
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
