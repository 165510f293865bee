#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/strong_types.h"
#include "cli/model_options.h"
#include "data/prompt_maker.h"
#include "generate/generation.h"
#include "model/model_config.h"

namespace fathom {

/// What `fathom generate` takes, whether it answers one prompt, a chat or a batch.
struct GenerateCommandOptions {
  ModelOption model;
  EngineOptions engine;
  std::optional<std::string> system;
  bool raw = false;
  std::string depth = "full";
  RankingOption ranking;
  GatesOption gates;
  GenerateOptions generate;

  void add_to(CLI::App& command);
  /// Throws InputError that says which options are out of range or do not go together.
  void check() const;
  [[nodiscard]] PromptMaker::Format format() const;
  /// The messages that a chat begins with: the system's, if there is one.
  [[nodiscard]] std::vector<ChatMessage> opening() const;
  /// The tokens of a prompt, as a chat of one message or as it is. Throws InputError if there are
  /// none.
  [[nodiscard]] std::vector<TokenId> prompt_tokens(const PromptMaker& prompts,
                                                   const std::string& prompt) const;
};

/// Throws InputError if a prompt is longer than the model's context.
void check_prompt_length(std::span<const TokenId> prompt, const ModelConfig& model);

}  // namespace fathom
