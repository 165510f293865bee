#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace fathom {

/// Encodes `text` and gives what its tokens decode to. Throws InputError as Tokenizer::encode does,
/// and BrokenPromise if that is no UTF-8 or not what a stream of the tokens decodes to.
std::string encode_and_decode(const Tokenizer& tokenizer, std::string_view text,
                              SpecialTokens special);

/// Does that with a text of many kinds of characters and with the text of the first tokens.
void use_tokenizer(const Tokenizer& tokenizer);

}  // namespace fathom
