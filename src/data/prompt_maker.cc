#include "data/prompt_maker.h"

#include <fmt/format.h>

#include "base/error.h"

namespace fathom {

PromptMaker::PromptMaker(const ModelFiles& files, Format format) : tokenizer_(files.tokenizer) {
  if (format == Format::raw) return;
  if (!files.chat_template) {
    throw InputError(
        fmt::format("{}: the model has no chat template; use --raw to give it the prompt as it is",
                    files.path));
  }
  try {
    template_ = ChatTemplate::recognize(*files.chat_template, files.bos_text, files.eos_text);
  } catch (const InputError& error) {
    throw FileError(files.path, "chat template", error.what());
  }
}

std::vector<TokenId> PromptMaker::chat(std::span<const ChatMessage> messages) const {
  return tokenizer_.encode(template_.value().render(messages), SpecialTokens::recognize);
}

std::vector<TokenId> PromptMaker::example(const Example& example) const {
  if (!template_) return raw(plain_prompt(example));
  const std::vector<ChatMessage> messages{{ChatRole::user, user_message(example)}};
  return chat(messages);
}

std::vector<TokenId> PromptMaker::raw(std::string_view text) const {
  std::vector<TokenId> tokens;
  if (const auto beginning = tokenizer_.beginning_of_text()) tokens.push_back(*beginning);
  const std::vector<TokenId> encoded = tokenizer_.encode(text, SpecialTokens::recognize);
  tokens.insert(tokens.end(), encoded.begin(), encoded.end());
  return tokens;
}

}  // namespace fathom
