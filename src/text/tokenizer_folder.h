#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>

#include "text/tokenizer_parts.h"

namespace fathom {

/// Gives `use` what a Hugging Face folder says of its tokenizer. The parts' views are valid only
/// during the call. Which tokens are left out and what is thrown: as Tokenizer::from_folder says.
void read_tokenizer_folder(const std::filesystem::path& folder,
                           std::optional<std::size_t> embedding_rows,
                           const std::function<void(TokenizerParts)>& use);

}  // namespace fathom
