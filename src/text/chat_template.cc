#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "text/jinja_source.h"
#include "text/unicode.h"

namespace fathom {

/// One family of templates with what a model's own template says about it.
class ChatTemplate::Family {
 public:
  using Messages = std::span<const ChatMessage>;

  Family() = default;
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;
  virtual ~Family() = default;
  /// `messages` is not empty.
  [[nodiscard]] virtual std::string render(Messages messages) const = 0;
  [[nodiscard]] virtual std::string_view name() const = 0;
};

namespace {

using Family = ChatTemplate::Family;
using Messages = Family::Messages;

std::string_view role_name(ChatRole role) {
  switch (role) {
    case ChatRole::system:
      return "system";
    case ChatRole::user:
      return "user";
    case ChatRole::assistant:
      return "assistant";
  }
  return "";
}

/// As Python's strip(): Unicode's white space and the four ASCII separators.
std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); };
  while (!text.empty()) {
    const Utf8Unit unit = first_character(text);
    if (!is_space(unit.character)) break;
    text.remove_prefix(unit.bytes);
  }
  while (!text.empty()) {
    std::size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80) --at;
    if (!is_space(first_character(text.substr(at)).character)) break;
    text = text.substr(0, at);
  }
  return text;
}

bool begins_with_system(Messages messages) { return messages.front().role == ChatRole::system; }

/// Throws unless user and assistant take turns, the user first.
void require_alternation(Messages messages) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if ((messages[i].role == ChatRole::user) != (i % 2 == 0)) {
      throw InputError(
          "the model's chat template wants user and assistant in turn, the user first");
    }
  }
}

/// A template to recognise.
struct Source {
  std::string text;  // see JinjaSource
  std::string between_tags;
  std::string bos;
  std::string eos;

  [[nodiscard]] bool has(std::string_view part) const { return text.find(part) != text.npos; }

  template <std::size_t N>
  [[nodiscard]] bool has_one(const std::array<std::string_view, N>& parts) const {
    for (const std::string_view part : parts) {
      if (has(part)) return true;
    }
    return false;
  }

  /// What stands between two parts; nullopt if they do not come in this order.
  [[nodiscard]] std::optional<std::string> between(std::string_view before,
                                                   std::string_view after) const {
    const std::size_t begin = text.find(before);
    if (begin == text.npos) return std::nullopt;
    const std::size_t end = text.find(after, begin + before.size());
    if (end == text.npos) return std::nullopt;
    return text.substr(begin + before.size(), end - begin - before.size());
  }
};

// Each family: a class that renders, and a function that recognises it in a source, giving nullptr
// if it is another family's or a variant that would be rendered otherwise.

class ChatMl final : public Family {
 public:
  struct Options {
    std::string beginning;
    std::optional<std::string> default_system;
    bool trims = false;
  };

  explicit ChatMl(Options options) : options_(std::move(options)) {}

  [[nodiscard]] std::string_view name() const override { return "chatml"; }

  [[nodiscard]] std::string render(Messages messages) const override {
    std::string prompt = options_.beginning;
    if (options_.default_system && !begins_with_system(messages)) {
      prompt += turn("system", *options_.default_system);
    }
    for (const ChatMessage& message : messages) {
      const std::string_view content = message.content;
      prompt += turn(role_name(message.role), options_.trims ? trimmed(content) : content);
    }
    return prompt + "<|im_start|>assistant\n";
  }

 private:
  static std::string turn(std::string_view role, std::string_view content) {
    return fmt::format("<|im_start|>{}\n{}<|im_end|>\n", role, content);
  }

  Options options_;
};

/// Finds a part of a text after places that only move forward, passing over the text once.
class ForwardSearch {
 public:
  ForwardSearch(std::string_view text, std::string_view part)
      : text_(text), part_(part), found_(text.find(part)) {}

  /// Where the part begins, at `begin` or after; npos if nowhere.
  std::size_t find(std::size_t begin) {
    if (found_ < begin) found_ = text_.find(part_, begin);
    return found_;
  }

 private:
  std::string_view text_;
  std::string_view part_;
  std::size_t found_;
};

/// The message in a literal that is a whole turn of the system's.
std::optional<std::string> default_system_in(const Source& source) {
  constexpr std::string_view opening = "{{'<|im_start|>system\n";
  constexpr std::string_view closing = "<|im_end|>\n";
  const std::string_view text = source.text;
  ForwardSearch ends(text, "'}}");
  ForwardSearch sums(text, "'+");
  for (std::size_t at = 0; (at = text.find(opening, at)) != std::string_view::npos;) {
    at += opening.size();
    const std::size_t end = std::min(ends.find(at), text.size());
    const std::string_view literal = text.substr(at, end - at);
    const bool whole = literal.ends_with(closing) && sums.find(at) >= end;
    if (whole) return std::string(literal.substr(0, literal.size() - closing.size()));
  }
  return std::nullopt;
}

std::shared_ptr<const Family> chatml_in(const Source& source) {
  constexpr std::string_view turn = "'<|im_start|>'+message['role']+'\n'+message['content']";
  constexpr std::string_view generation =
      "{%ifadd_generation_prompt%}{{'<|im_start|>assistant\n'}}{%endif%}";
  const auto end = source.between(turn, "}}");
  if (!end || !source.has(generation) || !source.between_tags.empty()) return nullptr;
  ChatMl::Options options;
  if (*end == "|trim+'<|im_end|>'+'\n'" || *end == "|trim+'<|im_end|>\n'") {
    options.trims = true;
  } else if (*end != "+'<|im_end|>'+'\n'" && *end != "+'<|im_end|>\n'") {
    return nullptr;
  }
  // Templates that rewrite what they are given.
  if (source.has_one(std::to_array<std::string_view>({"think", "raise_exception", "strftime"}))) {
    return nullptr;
  }
  constexpr std::string_view opening = "{{bos_token}}";
  if (source.text.starts_with(opening)) {
    options.beginning = source.bos;
  } else if (source.has("bos_token")) {
    return nullptr;
  }
  options.default_system = default_system_in(source);
  const bool when_there_is_none = source.has_one(std::to_array<std::string_view>(
      {"messages[0]['role']!='system'", "messages[0]['role']=='system'"}));
  if (options.default_system && !when_there_is_none) return nullptr;
  return std::make_shared<const ChatMl>(std::move(options));
}

class Llama2 final : public Family {
 public:
  Llama2(std::string bos, std::string eos) : bos_(std::move(bos)), eos_(std::move(eos)) {}

  [[nodiscard]] std::string_view name() const override { return "llama2"; }

  [[nodiscard]] std::string render(Messages messages) const override {
    std::string system;
    if (begins_with_system(messages)) {
      system = fmt::format("<<SYS>>\n{}\n<</SYS>>\n\n", messages.front().content);
      messages = messages.subspan(1);
    }
    require_alternation(messages);
    std::string prompt;
    for (const ChatMessage& message : messages) {
      const std::string content = system + message.content;
      system.clear();
      if (message.role == ChatRole::user) {
        prompt += fmt::format("{}[INST] {} [/INST]", bos_, trimmed(content));
      } else if (message.role == ChatRole::assistant) {
        prompt += fmt::format(" {} {}", trimmed(content), eos_);
      }
    }
    return prompt;
  }

 private:
  std::string bos_;
  std::string eos_;
};

std::shared_ptr<const Family> llama2_in(const Source& source) {
  const bool known =
      source.between_tags.empty() &&
      source.has("'<<SYS>>\n'+system_message+'\n<</SYS>>\n\n'+message['content']") &&
      source.has("{%setsystem_message=false%}") &&
      source.has_one(
          std::to_array<std::string_view>({"{{bos_token+'[INST] '+content.strip()+' [/INST]'}}",
                                           "{{bos_token+'[INST] '+content|trim+' [/INST]'}}"})) &&
      source.has_one(std::to_array<std::string_view>(
          {"{{' '+content.strip()+' '+eos_token}}", "{{' '+content|trim+' '+eos_token}}"}));
  if (!known) return nullptr;
  return std::make_shared<const Llama2>(source.bos, source.eos);
}

class Llama3 final : public Family {
 public:
  /// `header` is what Llama 3.1 and later put before the system's message; they always write a
  /// turn of the system.
  Llama3(std::string bos, std::optional<std::string> header)
      : bos_(std::move(bos)), header_(std::move(header)) {}

  [[nodiscard]] std::string_view name() const override { return "llama3"; }

  [[nodiscard]] std::string render(Messages messages) const override {
    std::string prompt = bos_;
    if (header_) {
      std::string system = *header_;
      if (begins_with_system(messages)) {
        system += trimmed(messages.front().content);
        messages = messages.subspan(1);
      }
      prompt += turn("system", system);
    }
    for (const ChatMessage& message : messages) {
      prompt += turn(role_name(message.role), trimmed(message.content));
    }
    return prompt + "<|start_header_id|>assistant<|end_header_id|>\n\n";
  }

 private:
  static std::string turn(std::string_view role, std::string_view content) {
    return fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>", role, content);
  }

  std::string bos_;
  std::optional<std::string> header_;
};

std::shared_ptr<const Family> llama3_in(const Source& source) {
  const bool known = source.between_tags.empty() &&
                     source.has(
                         "'<|start_header_id|>'+message['role']+'<|end_header_id|>\n\n'+"
                         "message['content']|trim+'<|eot_id|>'") &&
                     source.has("{{'<|start_header_id|>assistant<|end_header_id|>\n\n'}}") &&
                     source.has("bos_token");
  if (!known) return nullptr;
  if (!source.has("Date: ")) return std::make_shared<const Llama3>(source.bos, std::nullopt);
  const auto cutting = source.between("{{'Cutting Knowledge Date: ", "\n'}}");
  const auto date = source.between("{%setdate_string='", "'%}");
  const auto fallback = source.between("{%else%}{%setdate_string='", "'%}");
  const bool header_known = cutting && (date || fallback) &&
                            source.has("{{'Today Date: '+date_string+'\n\n'}}") &&
                            source.has("{{system_message}}{{'<|eot_id|>'}}");
  if (!header_known) return nullptr;
  return std::make_shared<const Llama3>(
      source.bos, fmt::format("Cutting Knowledge Date: {}\nToday Date: {}\n\n", *cutting,
                              fallback ? *fallback : *date));
}

class Gemma final : public Family {
 public:
  enum class SystemRole { refused, before_first_turn };

  Gemma(std::string bos, SystemRole system) : bos_(std::move(bos)), system_(system) {}

  [[nodiscard]] std::string_view name() const override { return "gemma"; }

  [[nodiscard]] std::string render(Messages messages) const override {
    std::string before_content;
    if (begins_with_system(messages)) {
      if (system_ == SystemRole::refused) {
        throw InputError("the model's chat template takes no system message");
      }
      before_content = messages.front().content + "\n\n";
      messages = messages.subspan(1);
    }
    require_alternation(messages);
    std::string prompt = bos_;
    for (const ChatMessage& message : messages) {
      const std::string_view role =
          message.role == ChatRole::assistant ? "model" : role_name(message.role);
      prompt += fmt::format("<start_of_turn>{}\n{}{}<end_of_turn>\n", role, before_content,
                            trimmed(message.content));
      before_content.clear();
    }
    return prompt + "<start_of_turn>model\n";
  }

 private:
  std::string bos_;
  SystemRole system_;
};

std::shared_ptr<const Family> gemma_in(const Source& source) {
  using SystemRole = Gemma::SystemRole;
  if (!source.between_tags.empty() || !source.has("{{'<start_of_turn>model\n'}}") ||
      !source.has("{%setrole='model'%}")) {
    return nullptr;
  }
  std::string beginning;
  if (source.text.starts_with("{{bos_token}}")) {
    beginning = source.bos;
  } else if (source.has("bos_token")) {
    return nullptr;
  }
  if (source.has("'<start_of_turn>'+role+'\n'+message['content']|trim+'<end_of_turn>\n'") &&
      source.has("raise_exception('System role not supported')")) {
    return std::make_shared<const Gemma>(beginning, SystemRole::refused);
  }
  if (source.has("'<start_of_turn>'+role+'\n'+(first_user_prefixifloop.firstelse'')") &&
      source.has("{%setfirst_user_prefix=messages[0]['content']+'\n\n'%}") &&
      source.has("{{message['content']|trim}}") && source.has("{{'<end_of_turn>\n'}}")) {
    return std::make_shared<const Gemma>(beginning, SystemRole::before_first_turn);
  }
  return nullptr;
}

class Zephyr final : public Family {
 public:
  explicit Zephyr(std::string eos) : eos_(std::move(eos)) {}

  [[nodiscard]] std::string_view name() const override { return "zephyr"; }

  [[nodiscard]] std::string render(Messages messages) const override {
    std::string prompt;
    for (const ChatMessage& message : messages) {
      prompt += fmt::format("<|{}|>\n{}{}\n", role_name(message.role), message.content, eos_);
    }
    return prompt + "<|assistant|>\n";
  }

 private:
  std::string eos_;
};

std::shared_ptr<const Family> zephyr_in(const Source& source) {
  const bool known = source.between_tags == "\n\n\n\n" &&
                     source.has("{{'<|user|>\n'+message['content']+eos_token}}\n{%") &&
                     source.has("{{'<|system|>\n'+message['content']+eos_token}}\n{%") &&
                     source.has("{{'<|assistant|>\n'+message['content']+eos_token}}\n{%") &&
                     source.has("{{'<|assistant|>'}}\n{%") && !source.has("raise_exception");
  if (!known) return nullptr;
  return std::make_shared<const Zephyr>(source.eos);
}

}  // namespace

ChatTemplate ChatTemplate::recognize(std::string_view jinja, std::string_view bos,
                                     std::string_view eos) {
  JinjaSource read = read_jinja(jinja);
  const Source source{std::move(read.text), std::move(read.between_tags), std::string(bos),
                      std::string(eos)};
  for (const auto& family_in : {chatml_in, llama2_in, llama3_in, gemma_in, zephyr_in}) {
    if (auto family = family_in(source)) return ChatTemplate(std::move(family));
  }
  throw InputError(
      "the model's chat template is not one that is known (ChatML, Llama 2, Llama 3, Gemma, "
      "Zephyr); with --raw the prompt goes to the model as it is");
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages) const {
  if (messages.empty()) throw InputError("a chat needs at least one message");
  return family_->render(messages);
}

std::string_view ChatTemplate::name() const { return family_->name(); }

}  // namespace fathom
