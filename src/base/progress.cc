#include "base/progress.h"

#include <cstdio>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

namespace fathom {

Progress::Progress(std::string unit, std::size_t total, std::size_t before)
    : unit_(std::move(unit)),
      total_(total),
      before_(before),
      visible_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (visible_) std::fputs("\r\033[K", stderr);
}

void Progress::done(std::size_t count, std::string_view note) {
  const Clock::time_point now = Clock::now();
  if (!visible_ || now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = static_cast<double>(count - before_) / seconds;
  const double left = count == before_ ? 0 : static_cast<double>(total_ - count) / rate;
  fmt::print(stderr, "\r{} of {} {}, {:.3g} a second, {:.0f} s left{}{}\033[K", count, total_,
             unit_, rate, left, note.empty() ? "" : ", ", note);
}

}  // namespace fathom
