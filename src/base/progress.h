#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace fathom {

/// One line on the terminal that says how far long work has come, how fast it goes and how long it
/// still takes. Writes nothing if standard error is no terminal. Erases itself at the end.
class Progress {
 public:
  /// `unit` names what is counted, in the plural: "rows".
  Progress(std::string unit, std::size_t total) : Progress(std::move(unit), total, 0) {}
  /// `before` of them were done earlier, by a run that this one goes on from: they count as done,
  /// not for the rate.
  Progress(std::string unit, std::size_t total, std::size_t before);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// That many are done now. Draws at most ten times a second.
  void done(std::size_t count) { done(count, {}); }
  /// Likewise, with a few words that stand behind the rest.
  void done(std::size_t count, std::string_view note);

 private:
  using Clock = std::chrono::steady_clock;

  std::string unit_;
  std::size_t total_;
  std::size_t before_;
  bool visible_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point drawn_;
};

}  // namespace fathom
