// A chat template in Jinja.

#include <optional>
#include <string_view>
#include <vector>

#include "fuzz/target.h"
#include "text/chat_template.h"

namespace fathom {

Refusals run_target(std::span<const std::byte> input) {
  const std::string_view jinja(reinterpret_cast<const char*>(input.data()), input.size());
  Refusals refusals;
  std::optional<ChatTemplate> chat_template;
  run_refusable(refusals, "the model's chat template",
                [&] { chat_template = ChatTemplate::recognize(jinja, "<s>", "</s>"); });
  if (!chat_template) return refusals;
  const std::vector<ChatMessage> chat{{ChatRole::system, "Be brief."},
                                      {ChatRole::user, " How deep is it?\n"},
                                      {ChatRole::assistant, "\xe2\x80\x83Ten fathoms."},
                                      {ChatRole::user, ""}};
  // Some families have no system message.
  Refusals no_system_message;
  run_refusable(no_system_message, "the model's chat template",
                [&] { (void)chat_template->render(chat); });
  for (const std::size_t count : {1, 3}) {
    const std::string prompt = chat_template->render(std::span(chat).subspan(1, count));
    require_promise(prompt.find("How deep is it?") != prompt.npos, "a message left out");
  }
  return refusals;
}

}  // namespace fathom
