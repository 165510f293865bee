#include "text/tokenizer.h"

#include <array>
#include <cstdint>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/printable.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/byte_alphabet.h"
#include "text/pre_tokenizer.h"
#include "text/token_table.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

namespace fathom {
namespace {

std::vector<AddedToken> chosen(const std::vector<AddedToken>& tokens, bool normalized) {
  std::vector<AddedToken> result;
  for (const AddedToken& token : tokens) {
    if (token.normalized == normalized) result.push_back(token);
  }
  return result;
}

std::vector<AddedToken> sought_in_normalized(const TokenizerParts& parts) {
  std::vector<AddedToken> result = chosen(parts.added, true);
  if (parts.normalization == TokenizerParts::Normalization::nfc) {
    for (AddedToken& token : result) token.content = nfc(token.content);
  }
  return result;
}

std::size_t total_bytes(const TokenizerParts& parts) {
  std::size_t bytes = 0;
  for (const TokenizerParts::Entry& entry : parts.vocabulary) bytes += entry.text.size();
  return bytes;
}

}  // namespace

struct Tokenizer::Data {
  explicit Data(TokenizerParts parts);

  void add_tokens(const TokenizerParts& parts);
  void add_merges(const TokenizerParts& parts);

  TokenTexts texts;  // as the file writes them
  TokenTexts bytes;  // what they stand for
  TokenIndex index;
  std::vector<bool> in_model;
  std::vector<bool> special;
  std::array<std::optional<TokenId>, 256> token_of_byte;
  MergeTable merges;
  AddedTokenFinder added;
  AddedTokenFinder added_normalized;
  PreTokenizer pre_tokenizer;
  TokenizerParts::Normalization normalization;
  TokenizerParts::WholeWords whole_words;
  std::optional<TokenId> beginning_of_text;
};

Tokenizer::Data::Data(TokenizerParts parts)
    : texts(parts.vocabulary.size(), total_bytes(parts)),
      bytes(parts.vocabulary.size(), total_bytes(parts)),
      index(parts.vocabulary.size()),
      in_model(parts.vocabulary.size()),
      special(parts.vocabulary.size()),
      merges(parts.merges.size()),
      added(chosen(parts.added, false)),
      added_normalized(sought_in_normalized(parts)),
      pre_tokenizer(std::move(parts.pre_tokenizer)),
      normalization(parts.normalization),
      whole_words(parts.whole_words),
      beginning_of_text(parts.beginning_of_text) {
  add_tokens(parts);
  add_merges(parts);
}

void Tokenizer::Data::add_tokens(const TokenizerParts& parts) {
  if (parts.vocabulary.empty()) throw FileError(parts.file, parts.tokens_place, "no tokens");
  if (parts.vocabulary.size() > std::numeric_limits<std::int32_t>::max()) {
    throw FileError(parts.file, parts.tokens_place, "more tokens than ids of 31 bits");
  }
  if (total_bytes(parts) > TokenTexts::most_bytes) {
    throw FileError(parts.file, parts.tokens_place, "the tokens take more than 4 GiB");
  }
  // Hugging Face decodes a token that it seeks in normalised text to its own normalised text.
  std::map<TokenId, std::string> decoded_as;
  for (AddedToken& token : sought_in_normalized(parts)) {
    decoded_as.emplace(token.id, std::move(token.content));
  }
  TokenId id;
  for (const TokenizerParts::Entry& entry : parts.vocabulary) {
    if (!is_utf8(entry.text)) {
      throw FileError(parts.file, fmt::format("{}[{}]", parts.tokens_place, id.value),
                      "a token's text is not UTF-8");
    }
    texts.push_back(entry.text);
    const auto rewritten = decoded_as.find(id);
    bytes.push_back(bytes_of_token(rewritten == decoded_as.end() ? entry.text : rewritten->second));
    in_model[id.index()] = entry.in_model;
    if (const auto earlier = index.insert(texts, id)) {
      throw FileError(parts.file, fmt::format("{}[{}]", parts.tokens_place, id.value),
                      fmt::format("the token {} is already number {}", printable_name(entry.text),
                                  earlier->value));
    }
    ++id;
  }
  for (const AddedToken& token : parts.added) special[token.id.index()] = token.special;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    std::string text;
    const auto character = static_cast<char>(byte);
    append_as_characters(text, std::string_view(&character, 1));
    const auto found = index.find(texts, text);
    if (found && in_model[found->index()]) token_of_byte[byte] = found;
    const bool in_utf8 = byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4);
    if (in_utf8 && !token_of_byte[byte] &&
        parts.missing_bytes == TokenizerParts::MissingBytes::refuse) {
      throw FileError(parts.file, parts.tokens_place,
                      fmt::format("no token for the byte {}, and an unknown token (unk_token) is "
                                  "not supported",
                                  byte));
    }
  }
}

void Tokenizer::Data::add_merges(const TokenizerParts& parts) {
  std::string joined;
  TokenId expected;  // files list what merges make in their order, so the next is easily found
  for (std::uint32_t rank = 0; rank < parts.merges.size(); ++rank) {
    const auto [left, right] = parts.merges[rank];
    const auto require = [&](std::string_view text) {
      const auto id = index.find(texts, text);
      if (!id || !in_model[id->index()]) {
        throw FileError(parts.file, fmt::format("{}[{}]", parts.merges_place, rank),
                        fmt::format("the vocabulary has no token {}", printable_name(text)));
      }
      return *id;
    };
    joined.assign(left);
    joined += right;
    const bool as_expected =
        expected.index() < texts.size() && texts[expected] == joined && in_model[expected.index()];
    const TokenId merged = as_expected ? expected : require(joined);
    merges.add(require(left), require(right), {rank, merged});
    expected = TokenId(merged.value + 1);
  }
}

Tokenizer build(TokenizerParts parts) {
  return Tokenizer(std::make_shared<const Tokenizer::Data>(std::move(parts)));
}

bool merges_make_all_tokens(const Tokenizer& tokenizer) {
  const Tokenizer::Data& data = tokenizer.data();
  PairMerger merger;
  std::vector<TokenId> symbols;
  for (TokenId id; id.index() < data.texts.size(); ++id) {
    if (!data.in_model[id.index()] || data.special[id.index()]) continue;
    symbols.clear();
    for (const char byte : data.bytes[id]) {
      const auto& token = data.token_of_byte[static_cast<std::uint8_t>(byte)];
      if (!token) return false;
      symbols.push_back(*token);
    }
    merger.merge(data.merges, symbols);
    if (symbols.size() != 1 || symbols.front() != id) return false;
  }
  return true;
}

std::optional<TokenizerParts::Merge> split_merge(std::string_view text) {
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == text.size()) {
    return std::nullopt;
  }
  if (text.find(' ', space + 1) != std::string_view::npos) return std::nullopt;
  return TokenizerParts::Merge{text.substr(0, space), text.substr(space + 1)};
}

namespace {

/// Encodes one text: the memory and the matchers that its pieces share.
class Encoder {
 public:
  explicit Encoder(const Tokenizer::Data& data) : data_(data), cutter_(data.pre_tokenizer) {}

  std::vector<TokenId> encode(std::string_view text, SpecialTokens special) {
    std::vector<Section> sections;
    data_.added.cut(text, special, sections);
    for (const Section& section : sections) {
      if (section.token) {
        tokens_.push_back(*section.token);
      } else if (data_.normalization == TokenizerParts::Normalization::nfc) {
        encode_normalized(nfc(section.text), special);
      } else {
        encode_normalized(section.text, special);
      }
    }
    return std::move(tokens_);
  }

 private:
  void encode_normalized(std::string_view text, SpecialTokens special) {
    std::vector<Section> sections;
    data_.added_normalized.cut(text, special, sections);
    for (const Section& section : sections) {
      if (section.token) {
        tokens_.push_back(*section.token);
        continue;
      }
      for (const std::string_view word : cutter_.cut(section.text)) encode_word(word);
    }
  }

  void encode_word(std::string_view word) {
    if (data_.whole_words == TokenizerParts::WholeWords::look_up_first) {
      characters_.clear();
      append_as_characters(characters_, word);
      const auto whole = data_.index.find(data_.texts, characters_);
      if (whole && data_.in_model[whole->index()]) {
        tokens_.push_back(*whole);
        return;
      }
    }
    symbols_.clear();
    for (const char byte : word) {
      const auto& token = data_.token_of_byte[static_cast<std::uint8_t>(byte)];
      if (token) symbols_.push_back(*token);
    }
    merger_.merge(data_.merges, symbols_);
    tokens_.insert(tokens_.end(), symbols_.begin(), symbols_.end());
  }

  const Tokenizer::Data& data_;
  PreTokenizer::Cutter cutter_;
  PairMerger merger_;
  std::string characters_;
  std::vector<TokenId> symbols_;
  std::vector<TokenId> tokens_;
};

void require_in_vocabulary(TokenId token, std::size_t size) {
  if (token.value < 0 || token.index() >= size) {
    throw InputError(
        fmt::format("token {} is outside the vocabulary: 0 to {}", token.value, size - 1));
  }
}

}  // namespace

std::vector<TokenId> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  if (is_utf8(text)) return Encoder(*data_).encode(text, special);
  return Encoder(*data_).encode(replace_ill_formed(text), special);
}

std::string Tokenizer::decode(std::span<const TokenId> tokens) const {
  std::string result;
  for (const TokenId token : tokens) result += bytes(token);
  return is_utf8(result) ? result : replace_ill_formed(result);
}

std::string_view Tokenizer::bytes(TokenId token) const {
  require_in_vocabulary(token, vocabulary_size());
  return data_->bytes[token];
}

bool Tokenizer::is_special(TokenId token) const {
  require_in_vocabulary(token, vocabulary_size());
  return data_->special[token.index()];
}

std::optional<TokenId> Tokenizer::find(std::string_view text) const {
  return data_->index.find(data_->texts, text);
}

std::size_t Tokenizer::vocabulary_size() const { return data_->texts.size(); }

std::optional<TokenId> Tokenizer::beginning_of_text() const { return data_->beginning_of_text; }

std::string StreamDecoder::push(TokenId token) {
  pending_ += tokenizer_.bytes(token);
  const std::size_t complete = pending_.size() - unfinished_bytes(pending_);
  std::string text = replace_ill_formed(std::string_view(pending_).substr(0, complete));
  pending_.erase(0, complete);
  return text;
}

std::string StreamDecoder::flush() {
  std::string text = replace_ill_formed(pending_);
  pending_.clear();
  return text;
}

}  // namespace fathom
