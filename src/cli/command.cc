#include "cli/command.h"

#include <string>

namespace fathom {

void add_example(CLI::App& command, const std::string& example) {
  command.footer("Example:\n  " + example);
}

}  // namespace fathom
