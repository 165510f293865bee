// `train` of fathom, which has no libtorch: it says what is missing.
#include "base/error.h"
#include "cli/command.h"

namespace fathom {

Command add_train(CLI::App& program, const std::string&) {
  CLI::App* const command =
      program.add_subcommand("train", "Adapt a model to run at less depth (in fathom-torch)");
  command->allow_extras();
  return {command, []() -> int {
            throw InputError(
                "training is in fathom-torch, which needs libtorch; in fathom's sources `make "
                "torch` gets it and builds build/torch/fathom-torch");
          }};
}

}  // namespace fathom
