#include "cli/generate_options.h"

#include <cstdint>
#include <limits>

#include <fmt/format.h>

#include "base/error.h"
#include "data/prompt_rows.h"

namespace fathom {
namespace {

void add_sampling(CLI::App& command, GenerateOptions& generate) {
  SamplingOptions& sampling = generate.sampling;
  command.add_option("--temperature", sampling.temperature, "0 takes the likeliest token")
      ->capture_default_str();
  // Ranges of signed numbers: CLI11 takes -1 as an unsigned number, a huge one.
  command.add_option("--top-k", sampling.top_k, "draw from the K likeliest")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30));
  command.add_option("--top-p", sampling.top_p, "draw from the likeliest that make up P");
  command.add_option("--min-p", sampling.min_p,
                     "draw from those at least P times as likely as the likeliest");
  command
      .add_option("--repetition-penalty", sampling.repetition_penalty,
                  "above 1 makes tokens that occurred less likely")
      ->capture_default_str();
  command.add_option("--seed", generate.seed, "of random draws")
      ->check(CLI::Range(std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command
      .add_option("--stop", generate.stop_strings, "a text that ends the answer; may be repeated")
      ->allow_extra_args(false);
  command
      .add_option("--logprobs", generate.logprobs,
                  "report each token's log-probability and the N likeliest")
      ->check(CLI::Range(0, 1000));
}

}  // namespace

void GenerateCommandOptions::add_to(CLI::App& command) {
  model.add_to(command);
  command.add_option("--system", system, "the system message of the chat");
  command.add_flag("--raw", raw, "no chat template: the prompt as it is");
  command.add_option("--depth", depth, depth_help())->capture_default_str();
  ranking.add_to(command);
  gates.add_to(command);
  command.add_option("--max-new-tokens", generate.max_new_tokens, "the longest answer")
      ->check(CLI::Range(std::size_t{1}, most_new_tokens))
      ->capture_default_str();
  engine.add_to(command);
  model.add_quantize_to(command);
  model.add_adapter_to(command);
  add_sampling(command, generate);
}

void GenerateCommandOptions::check() const {
  generate.sampling.check();
  if (raw && system) {
    throw InputError("--raw gives the model the prompt as it is: it goes without --system");
  }
}

PromptMaker::Format GenerateCommandOptions::format() const {
  return raw ? PromptMaker::Format::raw : PromptMaker::Format::chat;
}

std::vector<ChatMessage> GenerateCommandOptions::opening() const {
  if (!system) return {};
  return {{ChatRole::system, *system}};
}

std::vector<TokenId> GenerateCommandOptions::prompt_tokens(const PromptMaker& prompts,
                                                           const std::string& prompt) const {
  if (raw) {
    std::vector<TokenId> tokens = prompts.raw(prompt);
    if (tokens.empty()) throw InputError("the prompt is empty");
    return tokens;
  }
  std::vector<ChatMessage> messages = opening();
  messages.push_back({ChatRole::user, prompt});
  return prompts.chat(messages);
}

void check_prompt_length(std::span<const TokenId> prompt, const ModelConfig& model) {
  if (prompt.size() <= model.context) return;
  throw InputError(fmt::format("the prompt has {} tokens; the model's context is {}", prompt.size(),
                               model.context));
}

}  // namespace fathom
