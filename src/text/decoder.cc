#include "text/decoder.h"

#include <utility>

#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace fathom {
namespace {

using Tokens = DecoderRules::Tokens;

std::optional<unsigned> hexadecimal(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
  return std::nullopt;
}

std::size_t strip_at_start(const DecoderRules& rules) {
  return rules.strip ? rules.strip->most : 0;
}

}  // namespace

std::optional<std::uint8_t> byte_named_by(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
  const auto high = hexadecimal(token[3]);
  const auto low = hexadecimal(token[4]);
  if (!high || !low) return std::nullopt;
  return static_cast<std::uint8_t>(*high << 4U | *low);
}

TokenMeaning meaning_of(std::string_view token, const DecoderRules& rules) {
  if (rules.tokens == Tokens::byte_alphabet) return {bytes_of_token(token)};
  std::string text = replaced(token, rules.replacements);
  if (rules.tokens == Tokens::characters_or_byte) {
    if (const auto byte = byte_named_by(text)) {
      return {std::string(1, static_cast<char>(*byte)), TokenMeaning::Kind::byte};
    }
  }
  return {std::move(text)};
}

TokenMeaning meaning_of_first(std::string_view token, const DecoderRules& rules) {
  if (rules.not_in_first.empty()) return meaning_of(token, rules);
  return meaning_of(replaced(token, Replacement{rules.not_in_first, ""}), rules);
}

DecodingState::DecodingState(const DecoderRules& rules) : strip_left_(strip_at_start(rules)) {}

std::string DecodingState::push(std::string_view bytes, TokenMeaning::Kind kind,
                                const DecoderRules& rules) {
  at_start_ = false;
  if (rules.tokens == Tokens::byte_alphabet) {
    pending_ += bytes;
    const std::size_t complete = pending_.size() - unfinished_bytes(pending_);
    std::string text = replace_ill_formed(std::string_view(pending_).substr(0, complete));
    pending_.erase(0, complete);
    return without_strip(std::move(text), rules);
  }
  if (kind == TokenMeaning::Kind::byte) {
    pending_ += bytes;
    return {};
  }
  std::string text = end_run();
  text += bytes;
  return without_strip(std::move(text), rules);
}

std::string DecodingState::flush(const DecoderRules& rules) {
  std::string text;
  if (rules.tokens == Tokens::byte_alphabet) {
    text = replace_ill_formed(pending_);
    pending_.clear();
  } else {
    text = end_run();
  }
  text = without_strip(std::move(text), rules);
  at_start_ = true;
  strip_left_ = strip_at_start(rules);
  return text;
}

std::string DecodingState::end_run() {
  std::string text;
  if (is_utf8(pending_)) {
    text = std::move(pending_);
  } else {
    for (std::size_t i = 0; i < pending_.size(); ++i) append_utf8(text, replacement_character);
  }
  pending_.clear();
  return text;
}

std::string DecodingState::without_strip(std::string text, const DecoderRules& rules) {
  std::size_t begin = 0;
  while (strip_left_ > 0 && begin < text.size()) {
    if (!std::string_view(text).substr(begin).starts_with(rules.strip->text)) {
      strip_left_ = 0;
      break;
    }
    begin += rules.strip->text.size();
    --strip_left_;
  }
  return begin == 0 ? text : text.substr(begin);
}

}  // namespace fathom
