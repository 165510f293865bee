#include "cli/train_examples.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"

namespace fathom {

std::vector<TrainingExample> examples_of(const std::vector<Example>& rows, const ModelFiles& files,
                                         const PromptMaker& prompts, std::size_t max_tokens,
                                         const std::function<void(const std::string&)>& say) {
  const std::size_t most = std::min(max_tokens, files.config.context);
  std::vector<TrainingExample> examples;
  std::size_t cut = 0;
  for (const Example& row : rows) {
    std::vector<TokenId> tokens = prompts.example(row);
    std::vector<TokenId> answer = files.tokenizer.encode(row.response, SpecialTokens::as_text);
    if (!files.end_tokens.empty()) answer.push_back(files.end_tokens.front());
    if (tokens.size() + answer.size() > most) {
      ++cut;
      const std::size_t prompt =
          std::min(tokens.size(), std::max(most / 4, most - std::min(most, answer.size())));
      tokens.erase(tokens.begin(), tokens.end() - static_cast<std::ptrdiff_t>(prompt));
      answer.resize(std::min(answer.size(), most - prompt));
    }
    if (tokens.empty() || answer.empty()) {
      throw InputError(fmt::format("row {}: expected a prompt and a response", row.id));
    }
    const std::size_t prompt = tokens.size();
    tokens.insert(tokens.end(), answer.begin(), answer.end());
    examples.push_back({.tokens = std::move(tokens), .prompt = prompt});
  }
  if (cut > 0) say(fmt::format("{} of {} rows were cut to {} tokens", cut, rows.size(), most));
  return examples;
}

std::vector<Example> hold_out(std::vector<Example>& rows, std::size_t count, std::uint64_t seed,
                              std::string_view option) {
  if (count >= rows.size()) {
    throw InputError(fmt::format("{} {}: expected fewer than the {} rows that there are", option,
                                 count, rows.size()));
  }
  RandomStream random({.seed = seed, .purpose = RandomPurpose::split});
  std::vector<Example> held_out;
  for (; held_out.size() < count; rows.pop_back()) {
    std::swap(rows[random.below(rows.size())], rows.back());
    held_out.push_back(std::move(rows.back()));
  }
  return held_out;
}

}  // namespace fathom
