#include "cli/interrupt.h"

#include <csignal>

namespace fathom {
namespace {

// A signal handler can reach nothing but a global.
StopFlag stop_requested{false};  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
static_assert(StopFlag::is_always_lock_free, "a signal handler may set it");

void request_stop(int /*signal*/) { stop_requested.store(true, std::memory_order_relaxed); }

void stop_on(int signal) {
  struct sigaction action {};
  action.sa_handler = request_stop;
  // Reads at the terminal must return when the signal comes; the second signal takes the default.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(signal, &action, nullptr);
}

}  // namespace

const StopFlag& stop_on_interrupt() {
  stop_on(SIGINT);
  return stop_requested;
}

const StopFlag& stop_on_interrupt_or_launcher() {
  stop_on(SIGTERM);
  stop_on(SIGUSR1);
  return stop_on_interrupt();
}

}  // namespace fathom
