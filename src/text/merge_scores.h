#pragma once

#include <vector>

#include "text/tokenizer_parts.h"

namespace fathom {

/// Scores of tokens, by id, that join what the merges of `parts` join, in the same order: as
/// SentencePiece's files have them, where any two tokens join whose texts together are a token's.
/// Tokens whose merges are mixed get the same score; of equal scores what stands first in a text
/// comes first. Throws FileError where scores cannot say it: two tokens make a third but have no
/// merge, or the text of a token, once or twice, becomes other tokens.
std::vector<float> scores_of_merges(const TokenizerParts& parts);

}  // namespace fathom
