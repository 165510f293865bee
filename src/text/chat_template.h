#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace fathom {

enum class ChatRole { system, user, assistant };

struct ChatMessage {
  ChatRole role;
  std::string content;
};

/// How a chat becomes a prompt. The families of templates that are known, not a Jinja interpreter.
class ChatTemplate {
 public:
  /// Recognises the family from the model's own Jinja template. Throws InputError if it is none of
  /// ChatML, Llama 2, Llama 3, Gemma and Zephyr; the message suggests --raw.
  /// `bos` and `eos` are the texts of those tokens, empty if the model has none.
  static ChatTemplate recognize(std::string_view jinja, std::string_view bos, std::string_view eos);

  /// The prompt for the model's next turn, ending where the assistant's answer begins. The result
  /// is meant for Tokenizer::encode with SpecialTokens::recognize and holds the beginning-of-text
  /// token where the template writes it. Throws InputError on an order of roles that the
  /// template refuses.
  [[nodiscard]] std::string render(std::span<const ChatMessage> messages) const;

  /// The family's name: "chatml", "llama2", "llama3", "gemma" or "zephyr".
  [[nodiscard]] std::string_view name() const;
};

}  // namespace fathom
