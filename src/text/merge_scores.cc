#include "text/merge_scores.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/printable.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

using Ids = std::unordered_map<std::string_view, std::size_t>;

/// Tokens that texts are merged to.
Ids mergeable_tokens(const TokenizerParts& parts) {
  Ids ids;
  for (std::size_t id = 0; id < parts.vocabulary.size(); ++id) {
    if (parts.vocabulary[id].in_model) ids.emplace(parts.vocabulary[id].text, id);
  }
  for (const AddedToken& token : parts.added) {
    if (token.special) ids.erase(parts.vocabulary[token.id.index()].text);
  }
  return ids;
}

/// The first and the last rank of the merges that make a token.
struct Made {
  std::size_t id;
  std::size_t first;
  std::size_t last;
};

std::uint64_t pair_key(std::size_t left, std::size_t right) {
  return (std::uint64_t{left} << 32) | right;
}

void require_all_merges(const TokenizerParts& parts, const Ids& ids,
                        const std::unordered_set<std::uint64_t>& pairs) {
  std::unordered_set<std::string_view> added;  // cut out of texts before anything merges
  for (const AddedToken& token : parts.added) {
    if (!token.single_word) added.insert(parts.vocabulary[token.id.index()].text);
  }
  for (const auto& [text, id] : ids) {
    if (added.contains(text)) continue;
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const auto left = ids.find(text.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(text.substr(cut));
      if (right == ids.end() || pairs.contains(pair_key(left->second, right->second))) continue;
      throw FileError(parts.file, parts.merges_place,
                      fmt::format("no merge of {} and {}, which GGUF files of SentencePiece's kind "
                                  "would join",
                                  printable_name(left->first), printable_name(right->first)));
    }
  }
}

/// On the texts of all tokens, once and twice: where merges are mixed or the same token is made in
/// several ways, that is what shows it.
void require_same_tokens(const TokenizerParts& parts, const std::vector<float>& scores) {
  TokenizerParts with_scores = parts;
  with_scores.merges = TokenizerParts::Scores(scores.begin(), scores.end());
  const Tokenizer by_score = build(std::move(with_scores));
  const Tokenizer by_rank = build(parts);
  for (const TokenizerParts::Entry& entry : parts.vocabulary) {
    std::string text(entry.text);
    for (int times = 1; times <= 2; ++times, text.append(entry.text)) {
      if (by_score.encode(text, SpecialTokens::as_text) ==
          by_rank.encode(text, SpecialTokens::as_text)) {
        continue;
      }
      throw FileError(parts.file, parts.merges_place,
                      fmt::format("their order cannot be said by scores, as GGUF files of "
                                  "SentencePiece's kind have them: {} would become other tokens",
                                  printable_name(text)));
    }
  }
}

}  // namespace

std::vector<float> scores_of_merges(const TokenizerParts& parts) {
  const auto& merges = std::get<TokenizerParts::Merges>(parts.merges);
  const Ids ids = mergeable_tokens(parts);
  std::unordered_map<std::size_t, Made> made;
  std::unordered_set<std::uint64_t> pairs;
  std::string text;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    text.assign(merges[rank].left).append(merges[rank].right);
    const auto left = ids.find(merges[rank].left);
    const auto right = ids.find(merges[rank].right);
    const auto whole = ids.find(text);
    if (left == ids.end() || right == ids.end() || whole == ids.end()) {
      throw FileError(parts.file, fmt::format("{}[{}]", parts.merges_place, rank),
                      "a merge with a special token, which GGUF cannot say");
    }
    pairs.insert(pair_key(left->second, right->second));
    const auto [entry, is_new] = made.try_emplace(whole->second, Made{whole->second, rank, rank});
    if (!is_new) entry->second.last = rank;
  }
  require_all_merges(parts, ids, pairs);

  std::vector<Made> in_order;
  in_order.reserve(made.size());
  for (const auto& [id, entry] : made) in_order.push_back(entry);
  std::ranges::sort(in_order, {}, &Made::first);
  const auto least = -static_cast<float>(in_order.size());
  std::vector<float> scores(parts.vocabulary.size(), least);  // of what no merge makes
  std::size_t last = 0;
  float score = 0;
  for (const Made& token : in_order) {
    if (token.first > last) score -= 1;
    last = std::max(last, token.last);
    scores[token.id] = score;
  }
  require_same_tokens(parts, scores);
  return scores;
}

}  // namespace fathom
