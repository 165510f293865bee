// A file of skip controllers.

#include <cmath>
#include <cstddef>
#include <vector>

#include "fuzz/memory_file.h"
#include "fuzz/target.h"
#include "model/controller_file.h"

namespace fathom {

Refusals run_target(std::span<const std::byte> input) {
  static const MemoryFile file;
  file.write(input);
  Refusals refusals;
  run_refusable(refusals, file.path().string(), [&] {
    const ControllerFile read = read_controllers(file.path());
    require_promise(std::isfinite(read.alpha) && read.alpha >= 0, "an alpha that is no weight");
    const SkipControllers& controllers = read.controllers;
    require_promise(controllers.gates().size() == static_cast<std::size_t>(controllers.depth() - 2),
                    "a gate is missing");
    const std::vector<float> state(controllers.width(), 1);
    for (LayerIndex layer{1}; controllers.has_gate(layer); ++layer) {
      const double probability = controllers.execute_probability(layer, state);
      require_promise(probability >= 0 && probability <= 1, "a probability outside 0 to 1");
    }
  });
  return refusals;
}

}  // namespace fathom
