#pragma once

#include "generate/generator.h"

namespace fathom {

/// Set by the first SIGINT (Ctrl-C) after this call, so that long work can end cleanly. A second
/// signal ends the process at once.
const StopFlag& stop_on_interrupt();

}  // namespace fathom
