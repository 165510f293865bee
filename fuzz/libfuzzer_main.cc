// What libFuzzer calls; it brings its own main().

#include <cstddef>
#include <cstdint>
#include <span>

#include "fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)fathom::run_target(std::as_bytes(std::span(data, size)));
  return 0;
}
