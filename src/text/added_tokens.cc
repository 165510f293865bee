#include "text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace fathom {
namespace {

bool ends_in_word(std::string_view text) {
  return !text.empty() && is_word_character(last_character(text).character);
}

bool begins_with_word(std::string_view text) {
  return !text.empty() && is_word_character(first_character(text).character);
}

std::size_t white_space_at_end(std::string_view text) {
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    const Utf8Unit unit = last_character(text.substr(0, text.size() - bytes));
    if (!is_white_space(unit.character)) break;
    bytes += unit.bytes;
  }
  return bytes;
}

std::size_t white_space_at_front(std::string_view text) {
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    const Utf8Unit unit = first_character(text.substr(bytes));
    if (!is_white_space(unit.character)) break;
    bytes += unit.bytes;
  }
  return bytes;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), nodes_(1) {
  for (std::uint32_t i = 0; i < tokens_.size(); ++i) insert(i);
}

void AddedTokenFinder::insert(std::uint32_t token) {
  const std::string& content = tokens_[token].content;
  begins_token_[static_cast<std::uint8_t>(content.front())] = true;
  std::uint32_t node = 0;
  for (const char c : content) {
    const auto byte = static_cast<std::uint8_t>(c);
    std::uint32_t next = child(node, byte);
    if (next == 0) {
      next = static_cast<std::uint32_t>(nodes_.size());
      nodes_.push_back({byte, 0, nodes_[node].first_child, std::nullopt});
      nodes_[node].first_child = next;
    }
    node = next;
  }
  if (!nodes_[node].token) nodes_[node].token = token;
}

std::uint32_t AddedTokenFinder::child(std::uint32_t node, std::uint8_t byte) const {
  std::uint32_t at = nodes_[node].first_child;
  while (at != 0 && nodes_[at].byte != byte) at = nodes_[at].next_sibling;
  return at;
}

const AddedToken* AddedTokenFinder::longest_at_front(std::string_view text) const {
  const AddedToken* longest = nullptr;
  std::uint32_t node = 0;
  for (const char c : text) {
    node = child(node, static_cast<std::uint8_t>(c));
    if (node == 0) break;
    if (nodes_[node].token) longest = &tokens_[*nodes_[node].token];
  }
  return longest;
}

void AddedTokenFinder::cut(std::string_view text, SpecialTokens special,
                           std::vector<Section>& sections) const {
  std::size_t done = 0;  // what is in sections already
  std::size_t at = 0;    // where the next token may begin
  while (at < text.size()) {
    if (!begins_token_[static_cast<std::uint8_t>(text[at])]) {
      ++at;
      continue;
    }
    const AddedToken* const token = longest_at_front(text.substr(at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at + token->content.size();
    // A token that is passed over still hides others that overlap it.
    at = end;
    if (token->special && special == SpecialTokens::as_text) continue;
    if (token->single_word &&
        (ends_in_word(text.substr(0, begin)) || begins_with_word(text.substr(end)))) {
      continue;
    }
    if (token->lstrip) begin = std::max(begin - white_space_at_end(text.substr(0, begin)), done);
    if (token->rstrip) end += white_space_at_front(text.substr(end));
    if (done < begin) sections.push_back({text.substr(done, begin - done), std::nullopt});
    sections.push_back({{}, token->id});
    done = end;
  }
  if (done < text.size()) sections.push_back({text.substr(done), std::nullopt});
}

}  // namespace fathom
