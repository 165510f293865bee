#include "cli/error_report.h"

#include <cstdio>
#include <exception>
#include <new>

#include <fmt/format.h>

#include "base/error.h"

namespace fathom {
namespace {

int report(const char* message, int code) {
  fmt::print(stderr, "fathom: {}\n", message);
  return code;
}

}  // namespace

int with_errors_reported(const std::function<int()>& run) {
  try {
    return run();
  } catch (const InputError& error) {
    return report(error.what(), exit_bad_input);
  } catch (const std::bad_alloc&) {
    return report("not enough memory", exit_failure);
  } catch (const std::exception& error) {
    return report(error.what(), exit_failure);
  }
}

}  // namespace fathom
