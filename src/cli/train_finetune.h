#pragma once

#include <string>

#include "cli/command.h"

namespace fathom {

/// `train finetune`, a subcommand of fathom-torch's `train`. `command_line` is what reports show.
Command add_train_finetune(CLI::App& train, const std::string& command_line);

}  // namespace fathom
