#include "text/chat_template.h"

#include <chrono>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json_file.h"
#include "text/jinja_source.h"

namespace fathom {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json golden() {
  return read_json_object(FATHOM_SOURCE_DIR "/golden/chat_templates.json", 1U << 24U);
}

std::vector<ChatMessage> messages_of(const json& chat) {
  std::vector<ChatMessage> messages;
  for (const json& message : chat) {
    const auto role = message["role"].get<std::string>();
    messages.push_back({role == "system" ? ChatRole::system
                        : role == "user" ? ChatRole::user
                                         : ChatRole::assistant,
                        message["content"].get<std::string>()});
  }
  return messages;
}

std::optional<std::string> rendered(const ChatTemplate& chat_template, const json& chat) {
  try {
    return chat_template.render(messages_of(chat));
  } catch (const InputError&) {
    return std::nullopt;
  }
}

TEST(ChatTemplate, RendersAsTransformersDoes) {
  const json values = golden();
  for (const json& entry : values["templates"]) {
    SCOPED_TRACE(entry["name"].get<std::string>());
    const auto recognize = [&] {
      return ChatTemplate::recognize(entry["template"].get<std::string>(),
                                     entry["bos"].get<std::string>(),
                                     entry["eos"].get<std::string>());
    };
    if (entry["family"].is_null()) {
      EXPECT_THROW(recognize(), InputError);
      continue;
    }
    const ChatTemplate chat_template = recognize();
    EXPECT_EQ(chat_template.name(), entry["family"].get<std::string>());
    for (std::size_t i = 0; i < values["chats"].size(); ++i) {
      SCOPED_TRACE(values["chats"][i].dump());
      const json& prompt = entry["prompts"][i];
      const auto expected =
          prompt.is_null() ? std::nullopt : std::optional(prompt.get<std::string>());
      EXPECT_EQ(rendered(chat_template, values["chats"][i]), expected);
    }
  }
}

TEST(ChatTemplate, AnUnknownOneSuggestsRaw) {
  try {
    ChatTemplate::recognize("{{ messages[0].content }}", "", "");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--raw"));
  }
}

TEST(ChatTemplate, RefusesAnEmptyChat) {
  const json values = golden();
  const auto text = values["templates"][0]["template"].get<std::string>();
  EXPECT_THROW((void)ChatTemplate::recognize(text, "", "").render({}), InputError);
}

TEST(ChatTemplate, DamagedTemplatesAreRefusedOrRecognised) {
  const json values = golden();
  std::mt19937 random(10);
  for (const json& entry : values["templates"]) {
    const auto whole = entry["template"].get<std::string>();
    for (int i = 0; i < 200; ++i) {
      std::string text = whole.substr(0, random() % (whole.size() + 1));
      if (i % 2 == 0 && !text.empty()) text[random() % text.size()] = "{}%#'\"\\-\n"[random() % 9];
      try {
        const ChatTemplate chat_template = ChatTemplate::recognize(text, "<s>", "</s>");
        for (const json& chat : values["chats"]) (void)rendered(chat_template, chat);
      } catch (const InputError&) {
        continue;
      }
    }
  }
}

std::string repeated(std::string_view part, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += part;
  return text;
}

TEST(ChatTemplate, LongOnesTakeLittleTime) {
  const std::string chatml =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
      "message['content'] + '<|im_end|>\n'}}{% endfor %}{% if add_generation_prompt %}"
      "{{'<|im_start|>assistant\n'}}{% endif %}";
  ASSERT_EQ(ChatTemplate::recognize(chatml, "", "").name(), "chatml");
  constexpr std::size_t size = 1'000'000;
  for (const std::string_view part :
       {"{", "{{", "{%", "{#", "{{ a }}", "{% a %}", "{# a #}", "{{ message.role }}",
        "{{ message.content", "'", "{{'a", " ", "{{'<|im_start|>system\\n",
        "{{'<|im_start|>system\\n' + '<|im_end|>\\n'"}) {
    const auto begin = std::chrono::steady_clock::now();
    try {
      (void)ChatTemplate::recognize(chatml + repeated(part, size), "", "");
    } catch (const InputError&) {
      // Some are templates, some are not.
    }
    // Quadratic work would take minutes.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5)) << part;
  }
}

TEST(JinjaSource, NormalForm) {
  const auto text = [](std::string_view jinja) { return read_jinja(jinja).text; };
  EXPECT_EQ(text("{{ a + \"b 'c'\\n\" }}"), "{{a+'b 'c'\n'}}");
  EXPECT_EQ(text("x {%- if y -%} z"), "x{%ify%}z");
  EXPECT_EQ(text("{% a %}\n  {% b %}\n  {{ c }}\n"), "{%a%}{%b%}  {{c}}");
  EXPECT_EQ(text("{{ c }}\n\n"), "{{c}}\n");
  EXPECT_EQ(text("a{# x #}b"), "ab");
  EXPECT_EQ(text("{{ message.role }}"), "{{message['role']}}");
  EXPECT_EQ(text("{{ message.role+message.role }} {"), "{{message['role']+message['role']}} {");
  EXPECT_EQ(text("{{ a"), "{{a");
  EXPECT_EQ(text("{{ 'a"), "{{'a'");
  EXPECT_EQ(text("{#"), "");
  EXPECT_EQ(read_jinja("x{{ y }}\n{% z %}\nw").between_tags, "x\nw");
}

}  // namespace
}  // namespace fathom
