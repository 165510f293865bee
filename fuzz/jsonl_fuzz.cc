// A data set in JSON Lines.

#include <vector>

#include "data/examples.h"
#include "fuzz/memory_file.h"
#include "fuzz/target.h"

namespace fathom {

Refusals run_target(std::span<const std::byte> input) {
  static const MemoryFile file;
  file.write(input);
  Refusals refusals;
  run_refusable(refusals, file.path().string(), [&] {
    const std::vector<Example> examples = read_examples(file.path());
    require_promise(!examples.empty(), "a data set without rows");
    for (const Example& example : examples) {
      (void)user_message(example);
      (void)plain_prompt(example);
    }
    const std::vector<Example> first = read_examples(file.path(), 1);
    require_promise(first.size() == 1 && first[0].id == examples[0].id, "another first row");
  });
  return refusals;
}

}  // namespace fathom
