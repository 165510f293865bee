#include "fuzz/use_tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "fuzz/target.h"
#include "text/unicode.h"

namespace fathom {

std::string encode_and_decode(const Tokenizer& tokenizer, std::string_view text,
                              SpecialTokens special) {
  const std::vector<TokenId> tokens = tokenizer.encode(text, special);
  std::string whole = tokenizer.decode(tokens);
  require_promise(is_utf8(whole), "decoded text that is no UTF-8");
  StreamDecoder decoder(tokenizer);
  std::string streamed;
  for (const TokenId token : tokens) streamed += decoder.push(token);
  streamed += decoder.flush();
  require_promise(streamed == whole, "a stream of tokens decodes otherwise than all at once");
  return whole;
}

void use_tokenizer(const Tokenizer& tokenizer) {
  const std::string of_many_kinds =
      "The cafe\xcc\x81's 3 x 12,345 tokens\r\n\n\t  <|im_end|> "
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      "aaaaaa \xf0\x9f\x8c\x8a\xed\x95\x9c \xff\xe2\x82";
  constexpr std::size_t most_tokens = 64;
  std::string of_tokens;
  const std::size_t count = std::min(tokenizer.vocabulary_size(), most_tokens);
  for (std::size_t i = 0; i < count; ++i) {
    of_tokens += tokenizer.bytes(TokenId(static_cast<std::int32_t>(i)));
    if (i % 2 == 1) of_tokens += ' ';
  }
  for (const std::string& text : {of_many_kinds, of_tokens}) {
    (void)encode_and_decode(tokenizer, text, SpecialTokens::as_text);
    (void)encode_and_decode(tokenizer, text, SpecialTokens::recognize);
  }
}

}  // namespace fathom
