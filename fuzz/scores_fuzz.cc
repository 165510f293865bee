// A table of scores in CSV.

#include "fuzz/memory_file.h"
#include "fuzz/target.h"
#include "oracle/score_table.h"

namespace fathom {

Refusals run_target(std::span<const std::byte> input) {
  static const MemoryFile file;
  file.write(input);
  Refusals refusals;
  run_refusable(refusals, file.path().string(), [&] {
    const ScoreTable table = read_scores(file.path());
    require_promise(table.samples() > 0, "a table without rows");
    require_promise(table.depths.size() == table.choices.choices, "depths and choices differ");
    require_promise(table.choices.cost.size() == table.choices.quality.size(), "a cost is missing");
    require_promise(table.label_tokens.empty() || table.label_tokens.size() == table.samples(),
                    "a label's tokens are missing");
  });
  return refusals;
}

}  // namespace fathom
