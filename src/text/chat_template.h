#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace fathom {

enum class ChatRole { system, user, assistant };

struct ChatMessage {
  ChatRole role;
  std::string content;
};

/// How a chat becomes a prompt. The families of templates that are known, not a Jinja interpreter.
/// A value, cheap to copy and safe to use from many threads.
class ChatTemplate {
 public:
  /// Recognises the family from the model's own Jinja template. Throws InputError if it is none of
  /// ChatML, Llama 2, Llama 3, Gemma and Zephyr, or a variant that would be rendered otherwise; the
  /// message suggests --raw. `bos` and `eos` are the texts of those tokens, empty if the model has
  /// none.
  static ChatTemplate recognize(std::string_view jinja, std::string_view bos, std::string_view eos);

  /// The prompt for the model's next turn, ending where the assistant's answer begins: what
  /// Hugging Face's apply_chat_template makes with add_generation_prompt. It is meant for
  /// Tokenizer::encode with SpecialTokens::recognize and holds the beginning-of-text token where
  /// the template writes it. A template that asks for today's date (Llama 3.2) gets the date that
  /// it falls back to, so that a prompt is the same on every day. Throws InputError if `messages`
  /// is empty or their roles come in an order that the template refuses.
  [[nodiscard]] std::string render(std::span<const ChatMessage> messages) const;

  /// The family's name: "chatml", "llama2", "llama3", "gemma" or "zephyr".
  [[nodiscard]] std::string_view name() const;

  class Family;

 private:
  explicit ChatTemplate(std::shared_ptr<const Family> family) : family_(std::move(family)) {}

  std::shared_ptr<const Family> family_;
};

}  // namespace fathom
