#include "base/arena.h"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(Arena, PiecesAreAlignedAndApart) {
  Arena arena;
  std::vector<std::span<std::byte>> pieces;
  const std::vector<std::size_t> sizes{
      1, 63, 64, 65, 0, std::size_t{40} << 20, std::size_t{40} << 20, std::size_t{100} << 20, 5};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    pieces.push_back(arena.allocate(sizes[i]));
    ASSERT_EQ(pieces[i].size(), sizes[i]);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pieces[i].data()) % 64, 0U);
    // The ends only: what lies between need not be touched.
    if (sizes[i] > 0) pieces[i].front() = pieces[i].back() = static_cast<std::byte>(i);
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) continue;
    EXPECT_EQ(pieces[i].front(), static_cast<std::byte>(i));
    EXPECT_EQ(pieces[i].back(), static_cast<std::byte>(i));
  }
}

}  // namespace
}  // namespace fathom
