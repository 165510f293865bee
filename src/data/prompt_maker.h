#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/strong_types.h"
#include "data/examples.h"
#include "model/model_files.h"
#include "text/chat_template.h"

namespace fathom {

/// Makes prompts for a model, in its own chat format or as they are.
class PromptMaker {
 public:
  enum class Format { chat, raw };

  /// Throws InputError in the chat format if the model has no chat template or an unknown one; the
  /// message suggests --raw.
  PromptMaker(const ModelFiles& files, Format format);

  [[nodiscard]] Format format() const { return template_ ? Format::chat : Format::raw; }
  /// The tokens of a chat that the model is to answer.
  [[nodiscard]] std::vector<TokenId> chat(std::span<const ChatMessage> messages) const;
  /// The tokens of a data set's row: a chat of one message, or the plain prompt.
  [[nodiscard]] std::vector<TokenId> example(const Example& example) const;
  /// The tokens of a text as it is, after the beginning-of-text token if the model expects one.
  [[nodiscard]] std::vector<TokenId> raw(std::string_view text) const;

 private:
  Tokenizer tokenizer_;
  std::optional<ChatTemplate> template_;
};

}  // namespace fathom
