#pragma once

#include "cli/command.h"

namespace fathom {

/// `train controllers`, a subcommand of fathom-torch's `train`.
Command add_train_controllers(CLI::App& train);

}  // namespace fathom
