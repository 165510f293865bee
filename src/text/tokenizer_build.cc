#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/printable.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer_data.h"
#include "text/unicode.h"

namespace fathom {
namespace {

using Alphabet = TokenizerParts::Alphabet;

/// The time to find what merges make a token grows with the square of its length.
constexpr std::size_t most_scored_bytes = 4096;

std::vector<AddedToken> chosen(const std::vector<AddedToken>& tokens, bool normalized) {
  std::vector<AddedToken> result;
  for (const AddedToken& token : tokens) {
    if (token.normalized == normalized) result.push_back(token);
  }
  return result;
}

std::vector<AddedToken> sought_in_normalized(const TokenizerParts& parts) {
  const Normalizer normalizer(parts.normalizer);
  std::vector<AddedToken> result = chosen(parts.added, true);
  for (AddedToken& token : result) token.content = normalizer.apply(token.content);
  return result;
}

std::size_t total_bytes(const TokenizerParts& parts) {
  std::size_t bytes = 0;
  for (const TokenizerParts::Entry& entry : parts.vocabulary) bytes += entry.text.size();
  return bytes;
}

std::size_t count_of(const std::variant<TokenizerParts::Merges, TokenizerParts::Scores>& merges) {
  return std::visit([](const auto& list) { return list.size(); }, merges);
}

std::string place_of(const TokenizerParts& parts, TokenId id) {
  return fmt::format("{}[{}]", parts.tokens_place, id.value);
}

}  // namespace

Tokenizer::Data::Data(TokenizerParts parts)
    : texts(parts.vocabulary.size(), total_bytes(parts)),
      bytes(parts.vocabulary.size(), total_bytes(parts)),
      index(parts.vocabulary.size()),
      names_byte(parts.vocabulary.size()),
      in_model(parts.vocabulary.size()),
      special(parts.vocabulary.size()),
      alphabet(parts.alphabet),
      unknown(parts.unknown.token),
      unknown_runs(parts.unknown.runs),
      merges(count_of(parts.merges)),
      added(chosen(parts.added, false)),
      added_normalized(sought_in_normalized(parts)),
      normalizer(parts.normalizer),
      pre_tokenizer(std::move(parts.pre_tokenizer)),
      whole_words(parts.whole_words),
      decoder(parts.decoder),
      beginning_of_text(parts.beginning_of_text) {
  add_tokens(parts);
  add_alphabet(parts);
  std::visit([&](const auto& list) { add_merges(parts, list); }, parts.merges);
}

std::optional<TokenId> Tokenizer::Data::find_in_model(std::string_view text) const {
  const auto id = index.find(texts, text);
  return id && in_model[id->index()] ? id : std::nullopt;
}

TokenMeaning::Kind Tokenizer::Data::kind_of(TokenId token) const {
  return names_byte[token.index()] ? TokenMeaning::Kind::byte : TokenMeaning::Kind::text;
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
      throw FileError(parts.file, place_of(parts, id), "a token's text is not UTF-8");
    }
    texts.push_back(entry.text);
    const auto rewritten = decoded_as.find(id);
    const TokenMeaning meaning =
        meaning_of(rewritten == decoded_as.end() ? entry.text : rewritten->second, decoder);
    if (bytes.all().size() + meaning.bytes.size() > TokenTexts::most_bytes) {
      throw FileError(parts.file, parts.tokens_place, "the tokens stand for more than 4 GiB");
    }
    bytes.push_back(meaning.bytes);
    names_byte[id.index()] = meaning.kind == TokenMeaning::Kind::byte;
    in_model[id.index()] = entry.in_model;
    if (const auto earlier = index.insert(texts, id)) {
      throw FileError(parts.file, place_of(parts, id),
                      fmt::format("the token {} is already number {}", printable_name(entry.text),
                                  earlier->value));
    }
    ++id;
  }
  for (const AddedToken& token : parts.added) special[token.id.index()] = token.special;
}

void Tokenizer::Data::add_alphabet(const TokenizerParts& parts) {
  if (unknown && texts[*unknown].empty()) {
    throw FileError(parts.file, place_of(parts, *unknown), "an unknown token without text");
  }
  if (alphabet == Alphabet::bytes) {
    for (std::size_t byte = 0; byte < token_of_byte.size(); ++byte) {
      std::string text;
      const auto character = static_cast<char>(byte);
      append_as_characters(text, std::string_view(&character, 1));
      token_of_byte[byte] = find_in_model(text);
      const bool in_utf8 = byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4);
      if (in_utf8 && !token_of_byte[byte] &&
          parts.unknown.bytes == TokenizerParts::Unknown::Bytes::tokens) {
        throw FileError(parts.file, parts.tokens_place,
                        fmt::format("no token for the byte {}; byte_fallback is not supported "
                                    "together with ByteLevel",
                                    byte));
      }
    }
    return;
  }
  for (std::size_t c = 0; c < token_of_ascii.size(); ++c) {
    const auto character = static_cast<char>(c);
    token_of_ascii[c] = find_in_model(std::string_view(&character, 1));
  }
  if (parts.unknown.bytes == TokenizerParts::Unknown::Bytes::no_tokens) return;
  for (std::size_t byte = 0; byte < token_of_byte.size(); ++byte) {
    token_of_byte[byte] = find_in_model(fmt::format("<0x{:02X}>", byte));
  }
}

void Tokenizer::Data::add_joint(std::string_view left, std::string_view right) {
  if (alphabet == Alphabet::bytes || left.empty() || right.empty()) return;
  joints.add(last_character(left).character, first_character(right).character);
}

void Tokenizer::Data::add_merges(const TokenizerParts& parts, const TokenizerParts::Merges& list) {
  std::string joined;
  TokenId expected;  // files list what merges make in their order, so the next is easily found
  for (std::uint32_t rank = 0; rank < list.size(); ++rank) {
    const auto [left, right] = list[rank];
    const auto require = [&](std::string_view text) {
      const auto id = find_in_model(text);
      if (!id) {
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
    add_joint(left, right);
    expected = TokenId(merged.value + 1);
  }
}

void Tokenizer::Data::add_merges(const TokenizerParts& parts,
                                 const TokenizerParts::Scores& scores) {
  if (scores.size() != texts.size()) {
    throw FileError(parts.file, parts.merges_place,
                    fmt::format("{} scores for {} tokens", scores.size(), texts.size()));
  }
  std::vector<double> ranked(scores);
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    if (!std::isnan(ranked[i])) continue;
    throw FileError(parts.file, fmt::format("{}[{}]", parts.merges_place, i), "not a number");
  }
  std::sort(ranked.begin(), ranked.end(), std::greater<>());
  ranked.erase(std::unique(ranked.begin(), ranked.end()), ranked.end());
  for (TokenId id; id.index() < texts.size(); ++id) {
    if (!in_model[id.index()]) continue;
    const std::string_view text = texts[id];
    if (text.size() > most_scored_bytes) {
      throw FileError(
          parts.file, place_of(parts, id),
          fmt::format("a token of {} bytes, {} at most expected", text.size(), most_scored_bytes));
    }
    const auto rank = static_cast<std::uint32_t>(
        std::lower_bound(ranked.begin(), ranked.end(), scores[id.index()], std::greater<>()) -
        ranked.begin());
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      if ((static_cast<std::uint8_t>(text[cut]) & 0xC0U) == 0x80) continue;  // inside a character
      const auto left = find_in_model(text.substr(0, cut));
      if (!left) continue;
      const auto right = find_in_model(text.substr(cut));
      if (!right) continue;
      merges.add(*left, *right, {rank, id});
      add_joint(texts[*left], texts[*right]);
    }
  }
}

Tokenizer build(TokenizerParts parts) {
  return Tokenizer(std::make_shared<const Tokenizer::Data>(std::move(parts)));
}

std::optional<TokenizerParts::Merge> split_merge(std::string_view text) {
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == text.size()) {
    return std::nullopt;
  }
  if (text.find(' ', space + 1) != std::string_view::npos) return std::nullopt;
  return TokenizerParts::Merge{text.substr(0, space), text.substr(space + 1)};
}

}  // namespace fathom
