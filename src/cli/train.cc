// `train` of fathom-torch; train_missing.cc is the one of fathom.
#include <string>

#include "cli/command.h"
#include "cli/train_controllers.h"
#include "cli/train_finetune.h"

namespace fathom {

Command add_train(CLI::App& program, const std::string& command_line) {
  CLI::App* const train = program.add_subcommand("train", "Adapt a model to run at less depth");
  train->require_subcommand(1);
  const Command finetune = add_train_finetune(*train, command_line);
  const Command controllers = add_train_controllers(*train);
  return {train, [finetune, controllers] {
            return finetune.options->parsed() ? finetune.run() : controllers.run();
          }};
}

}  // namespace fathom
