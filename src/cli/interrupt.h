#pragma once

#include "generate/generator.h"

namespace fathom {

/// Set by the first SIGINT (Ctrl-C) after this call, so that long work can end cleanly. A second
/// signal ends the process at once.
const StopFlag& stop_on_interrupt();

/// Likewise, and when a launcher or a batch system asks for it: by SIGTERM, which mpirun answers
/// Ctrl-C with, or SIGUSR1, which mpirun passes on and sbatch --signal sends ahead of time.
const StopFlag& stop_on_interrupt_or_launcher();

}  // namespace fathom
