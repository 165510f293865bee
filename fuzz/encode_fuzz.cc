// A text, encoded and decoded by the small tokenizers in golden/.

#include <array>
#include <filesystem>
#include <string>
#include <string_view>

#include "fuzz/target.h"
#include "fuzz/use_tokenizer.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace fathom {
namespace {

Tokenizer golden(std::string_view file) {
  return Tokenizer::from_json(std::filesystem::path(FATHOM_SOURCE_DIR) / "golden" / file);
}

/// What special tokens in the text become.
constexpr std::array both{SpecialTokens::as_text, SpecialTokens::recognize};

}  // namespace

Refusals run_target(std::span<const std::byte> input) {
  // These have a token for every byte and take nothing away.
  static const std::array<Tokenizer, 4> whole{
      golden("tokenizers/gpt2.json"), golden("tokenizers/llama-bpe.json"),
      golden("tokenizers/tekken.json"), golden("tiny/rope-linear/tokenizer.json")};
  static const Tokenizer normalizing = golden("tokenizers/qwen2.json");
  // One lacks bytes, the next one's added tokens take the white space beside them, and the others
  // write spaces as characters that a text may hold, too.
  static const std::array<Tokenizer, 6> lossy{
      golden("tokenizers/smollm.json"), golden("tokenizers/added-tokens.json"),
      golden("tokenizers/llama2.json"), golden("tokenizers/mistral.json"),
      golden("tokenizers/gemma.json"),  golden("tokenizers/splits.json")};

  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const std::string sound = replace_ill_formed(text);
  for (const SpecialTokens special : both) {
    for (const Tokenizer& tokenizer : whole) {
      require_promise(encode_and_decode(tokenizer, text, special) == sound,
                      "a text that does not come back from its tokens");
    }
    const std::string normalized = encode_and_decode(normalizing, text, special);
    // What lies between special tokens is normalised by itself.
    require_promise(special == SpecialTokens::recognize || normalized == nfc(sound),
                    "a text that does not come back normalised from its tokens");
    for (const Tokenizer& tokenizer : lossy) (void)encode_and_decode(tokenizer, text, special);
  }
  return {};  // every text is taken: an InputError would be a finding
}

}  // namespace fathom
