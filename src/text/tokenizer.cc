#include "text/tokenizer.h"

#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "text/encoder.h"
#include "text/tokenizer_data.h"
#include "text/unicode.h"

namespace fathom {
namespace {

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
  DecodingState state(data_->decoder);
  std::string result;
  for (const TokenId token : tokens) result += push(state, token);
  result += state.flush(data_->decoder);
  return result;
}

std::string Tokenizer::push(DecodingState& state, TokenId token) const {
  require_in_vocabulary(token, vocabulary_size());
  const DecoderRules& rules = data_->decoder;
  if (state.at_start() && !rules.not_in_first.empty()) {
    const TokenMeaning meaning = meaning_of_first(data_->texts[token], rules);
    return state.push(meaning.bytes, meaning.kind, rules);
  }
  return state.push(data_->bytes[token], data_->kind_of(token), rules);
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

StreamDecoder::StreamDecoder(Tokenizer tokenizer)
    : tokenizer_(std::move(tokenizer)), state_(tokenizer_.data_->decoder) {}

std::string StreamDecoder::push(TokenId token) { return tokenizer_.push(state_, token); }

std::string StreamDecoder::flush() { return state_.flush(tokenizer_.data_->decoder); }

}  // namespace fathom
