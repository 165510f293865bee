#include "base/aligned_buffer.h"

#include <cstdlib>
#include <new>
#include <sys/mman.h>

namespace fathom {

void* allocate_aligned(std::size_t bytes) {
  constexpr std::size_t cache_line = 64;
  constexpr std::size_t huge_page = std::size_t{2} << 20;
  const std::size_t alignment = bytes >= 2 * huge_page ? huge_page : cache_line;
  if (bytes > ~std::size_t{0} - alignment) throw std::bad_alloc();
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* const memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) throw std::bad_alloc();
  // Streaming through weights touches every page once a token: huge pages save most TLB misses.
  if (alignment == huge_page) (void)::madvise(memory, rounded, MADV_HUGEPAGE);
  return memory;
}

void free_aligned(void* memory) { std::free(memory); }

}  // namespace fathom
