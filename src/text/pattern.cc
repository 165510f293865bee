#define PCRE2_CODE_UNIT_WIDTH 8

#include "text/pattern.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <pcre2.h>

#include "base/error.h"
#include "formats/printable.h"
#include "text/unicode.h"

namespace fathom {
namespace {

/// Steps after which a match is given up: a second's work. Sound patterns need few for any text.
constexpr std::uint32_t match_limit = 50'000'000;
constexpr std::uint32_t heap_limit_kib = 256 * 1024;

/// What is wrong with an expression.
InputError problem_with(std::string_view expression, std::string_view problem) {
  return InputError(
      fmt::format("the pattern '{}' {}", printable(expression, 400), printable(problem, 200)));
}

[[noreturn]] void unsupported(std::string_view expression, std::string_view what) {
  throw problem_with(expression, fmt::format("uses {}, which is not supported", what));
}

/// Accepts the expressions that PCRE2 and Oniguruma read alike; throws on others.
class SyntaxCheck {
 public:
  explicit SyntaxCheck(std::string_view expression) : all_(expression), rest_(expression) {}

  void run() {
    while (!rest_.empty()) element();
  }

 private:
  bool take(std::string_view prefix) {
    if (!rest_.starts_with(prefix)) return false;
    rest_.remove_prefix(prefix.size());
    return true;
  }

  void element() {
    if (rest_.front() == '\\') return escape();
    if (take("[")) return character_class();
    if (take("(")) return group();
    if (rest_.front() == '{') return interval();
    if (rest_.front() == '.' || rest_.front() == '^' || rest_.front() == '$') {
      unsupported(all_, fmt::format("'{}'", rest_.front()));
    }
    rest_.remove_prefix(1);
  }

  void group() {
    if (rest_.starts_with('*')) unsupported(all_, "'(*'");
    if (!rest_.starts_with('?')) return;
    for (const std::string_view known : {"?:", "?i:", "?=", "?!", "?>", "?<=", "?<!"}) {
      if (take(known)) return;
    }
    unsupported(all_, fmt::format("the group '({}'", rest_.substr(0, 3)));
  }

  void interval() {
    const std::size_t end = rest_.find('}');
    const std::string_view bounds = rest_.substr(0, end == std::string_view::npos ? 1 : end + 1);
    const bool digits = std::all_of(bounds.begin() + 1, bounds.end() - (bounds.size() > 1 ? 1 : 0),
                                    [](char c) { return c == ',' || (c >= '0' && c <= '9'); });
    if (bounds.size() < 3 || !digits || bounds[1] == ',') {
      unsupported(all_, fmt::format("'{}'", bounds));
    }
    rest_.remove_prefix(bounds.size());
    // {1,3}+ is possessive to one and repeats the interval to the other.
    if (rest_.starts_with('+') || rest_.starts_with('?')) {
      unsupported(all_, fmt::format("'{}{}'", bounds, rest_.front()));
    }
  }

  void character_class() {
    take("^");
    if (rest_.starts_with(']')) unsupported(all_, "']' first in a class");
    while (!take("]")) {
      if (rest_.empty()) throw problem_with(all_, "has an open '['");
      if (rest_.front() == '[') unsupported(all_, "'[' in a class");
      if (rest_.starts_with("&&")) unsupported(all_, "'&&' in a class");
      if (rest_.front() == '\\') {
        escape();
      } else {
        rest_.remove_prefix(1);
      }
    }
  }

  void escape() {
    rest_.remove_prefix(1);
    if (rest_.empty()) throw problem_with(all_, "ends in '\\'");
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c == 'p' || c == 'P') return property();
    constexpr std::string_view letters_alike = "sSdDrntf";
    const bool alphanumeric =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alphanumeric && letters_alike.find(c) == std::string_view::npos) {
      unsupported(all_, fmt::format("'\\{}'", c));
    }
  }

  void property() {
    constexpr std::array<std::string_view, 37> categories = {
        "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",
        "Mc", "Me", "Mn", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi",
        "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};
    const std::size_t end = rest_.find('}');
    if (!rest_.starts_with('{') || end == std::string_view::npos) {
      unsupported(all_, "a property without {}");
    }
    const std::string_view name = rest_.substr(1, end - 1);
    if (std::find(categories.begin(), categories.end(), name) == categories.end()) {
      unsupported(all_, fmt::format("the property {}", name));
    }
    rest_.remove_prefix(end + 1);
  }

  std::string_view all_;
  std::string_view rest_;
};

}  // namespace

struct Pattern::Compiled {
  pcre2_code* code = nullptr;
  std::string expression;
  std::uint32_t options;

  Compiled(pcre2_code* c, std::string_view e, std::uint32_t o)
      : code(c), expression(e), options(o) {}
  ~Compiled() { pcre2_code_free(code); }
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
};

struct Pattern::Matcher::State {
  std::shared_ptr<const Compiled> compiled;
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;

  explicit State(std::shared_ptr<const Compiled> c)
      : compiled(std::move(c)),
        data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)) {
    if (data == nullptr || context == nullptr) {
      release();
      throw std::bad_alloc();
    }
    pcre2_set_match_limit(context, match_limit);
    pcre2_set_heap_limit(context, heap_limit_kib);
  }
  ~State() { release(); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void release() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }

  /// The first match at or after `begin`: from where to where.
  std::optional<std::pair<std::size_t, std::size_t>> find(std::string_view text,
                                                          std::size_t begin) {
    const auto* const subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    const auto match = [&](std::uint32_t options) {
      return pcre2_match(compiled->code, subject, text.size(), begin, PCRE2_NO_UTF_CHECK | options,
                         data, context);
    };
    int count = match(0);
    // The interpreter keeps its frames on the heap.
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) count = match(PCRE2_NO_JIT);
    if (count == PCRE2_ERROR_NOMATCH) return std::nullopt;
    if (count < 0) {
      throw InputError(
          fmt::format("the tokenizer's pattern gives up on a run of {} bytes (PCRE2 error {})",
                      text.size(), count));
    }
    const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(data);
    return std::pair{bounds[0], bounds[1]};
  }
};

Pattern Pattern::compile(std::string_view expression, std::uint32_t options) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* const code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                    options | PCRE2_UTF, &error, &offset, nullptr);
  if (code == nullptr) {
    std::array<PCRE2_UCHAR, 256> message{};
    pcre2_get_error_message(error, message.data(), message.size());
    throw problem_with(expression, fmt::format("is wrong at byte {}: {}", offset,
                                               reinterpret_cast<const char*>(message.data())));
  }
  auto compiled = std::make_shared<const Compiled>(code, expression, options);
  std::uint32_t may_be_empty = 0;
  pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &may_be_empty);
  if (may_be_empty != 0) {
    throw problem_with(expression, "can match an empty text");
  }
  // Where there is no JIT the interpreter gives the same matches.
  (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return Pattern(std::move(compiled));
}

Pattern Pattern::regex(std::string_view expression) {
  if (!is_utf8(expression)) throw InputError("the pattern is not UTF-8");
  SyntaxCheck(expression).run();
  return compile(expression, PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C);
}

Pattern Pattern::literal(std::string_view text) {
  if (!is_utf8(text)) throw InputError("the pattern is not UTF-8");
  return compile(text, PCRE2_LITERAL);
}

bool operator==(const Pattern& a, const Pattern& b) {
  return a.compiled_->expression == b.compiled_->expression &&
         a.compiled_->options == b.compiled_->options;
}

Pattern::Matcher::Matcher(const Pattern& pattern)
    : state_(std::make_shared<State>(pattern.compiled_)) {}

void Pattern::Matcher::find_all(std::string_view text, std::vector<std::string_view>& matches) {
  const std::optional<std::string> shadow = with_stand_ins(text);
  const std::string_view subject = shadow ? std::string_view(*shadow) : text;
  std::size_t begin = 0;
  while (begin < subject.size()) {
    const auto found = state_->find(subject, begin);
    if (!found || found->second <= found->first) return;
    matches.push_back(text.substr(found->first, found->second - found->first));
    begin = found->second;
  }
}

}  // namespace fathom
