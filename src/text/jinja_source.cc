#include "text/jinja_source.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace fathom {
namespace {

constexpr std::string_view white_space = " \t\r\n\v\f";

/// Where the first tag begins; npos if there is none.
std::size_t find_tag(std::string_view text) {
  std::size_t at = text.find('{');
  while (at < text.size()) {
    const std::string_view mark = text.substr(at, 2);
    if (mark == "{%" || mark == "{{" || mark == "{#") return at;
    at = text.find('{', at + 1);
  }
  return std::string_view::npos;
}

class Reader {
 public:
  explicit Reader(std::string_view jinja) : rest_(jinja) {
    // Jinja drops one line end at the end of a template.
    if (rest_.ends_with('\n')) rest_.remove_suffix(1);
  }

  JinjaSource run() {
    while (!rest_.empty()) {
      data();
      if (!rest_.empty()) tag();
    }
    return {std::move(out_), std::move(between_tags_)};
  }

 private:
  enum class Trim { nothing, newline, all };

  /// Text up to the next tag.
  void data() {
    std::string_view text = rest_.substr(0, find_tag(rest_));
    rest_.remove_prefix(text.size());
    if (after_tag_ == Trim::newline) {
      if (text.starts_with('\r')) text.remove_prefix(1);
      if (text.starts_with('\n')) text.remove_prefix(1);
    } else if (after_tag_ == Trim::all) {
      text.remove_prefix(std::min(text.find_first_not_of(white_space), text.size()));
    }
    if (rest_.size() > 2 && rest_[2] == '-') {
      text = text.substr(0, text.find_last_not_of(white_space) + 1);  // npos + 1 is 0
    } else if (rest_.starts_with("{%") || rest_.starts_with("{#")) {
      // Blanks before a block that is first on its line go.
      const std::size_t line = text.find_last_not_of(" \t") + 1;
      const bool first_on_line =
          line == 0 ? after_tag_ == Trim::newline || out_.empty() : text[line - 1] == '\n';
      if (first_on_line) text = text.substr(0, line);
    }
    out_ += text;
    between_tags_ += text;
  }

  void tag() {
    const char kind = rest_[1];
    rest_.remove_prefix(2);
    if (kind == '#') {
      const std::size_t end = rest_.find("#}");
      after_tag_ = end != 0 && end != std::string_view::npos && rest_[end - 1] == '-'
                       ? Trim::all
                       : Trim::newline;
      rest_.remove_prefix(std::min(end == std::string_view::npos ? end : end + 2, rest_.size()));
      return;
    }
    if (rest_.starts_with('-') || rest_.starts_with('+')) rest_.remove_prefix(1);
    const std::string_view close = kind == '%' ? "%}" : "}}";
    out_ += kind == '%' ? "{%" : "{{";
    while (!rest_.empty() && !rest_.starts_with(close)) {
      const char c = rest_.front();
      if (c == '\'' || c == '"') {
        literal(c);
        continue;
      }
      if (white_space.find(c) == std::string_view::npos) out_ += c;
      rest_.remove_prefix(1);
    }
    if (rest_.empty()) return;
    rest_.remove_prefix(2);
    after_tag_ = kind == '%' ? Trim::newline : Trim::nothing;
    if (out_.ends_with('-')) {
      out_.pop_back();
      after_tag_ = Trim::all;
    } else if (out_.ends_with('+')) {
      out_.pop_back();
      after_tag_ = Trim::nothing;
    }
    out_ += close;
  }

  void literal(char quote) {
    rest_.remove_prefix(1);
    out_ += '\'';
    while (!rest_.empty() && rest_.front() != quote) {
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '\\' && !rest_.empty()) {
        c = rest_.front();
        rest_.remove_prefix(1);
        if (c == 'n') c = '\n';
        if (c == 't') c = '\t';
        if (c == 'r') c = '\r';
      }
      out_ += c;
    }
    out_ += '\'';
    if (!rest_.empty()) rest_.remove_prefix(1);
  }

  std::string_view rest_;
  std::string out_;
  std::string between_tags_;
  Trim after_tag_ = Trim::nothing;
};

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (std::size_t at = 0; (at = text.find(from)) != std::string_view::npos;) {
    result += text.substr(0, at);
    result += to;
    text.remove_prefix(at + from.size());
  }
  return result += text;
}

}  // namespace

JinjaSource read_jinja(std::string_view jinja) {
  JinjaSource source = Reader(jinja).run();
  source.text = replaced(source.text, "message.role", "message['role']");
  source.text = replaced(source.text, "message.content", "message['content']");
  return source;
}

}  // namespace fathom
