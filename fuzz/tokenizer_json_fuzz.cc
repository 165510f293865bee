// A tokenizer.json, and what it makes of a few texts.

#include <optional>

#include "fuzz/memory_file.h"
#include "fuzz/target.h"
#include "fuzz/use_tokenizer.h"
#include "text/tokenizer.h"

namespace fathom {

Refusals run_target(std::span<const std::byte> input) {
  static const MemoryFile file;
  file.write(input);
  Refusals refusals;
  std::optional<Tokenizer> tokenizer;
  run_refusable(refusals, file.path().string(),
                [&] { tokenizer = Tokenizer::from_json(file.path()); });
  if (!tokenizer) return refusals;
  // A pattern that the file brings may give up on a text; no file is at fault then.
  run_refusable(refusals, "the tokenizer's pattern", [&] { use_tokenizer(*tokenizer); });
  return refusals;
}

}  // namespace fathom
