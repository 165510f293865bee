#include "engine/cache_pool.h"

#include <algorithm>
#include <set>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace fathom {
namespace {

bool all_zero(const std::byte* block, std::size_t size) {
  const std::span bytes(block, size);
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

TEST(CachePool, BlocksDoNotOverlapAndAreZeroAlsoWhenUsedAgain) {
  constexpr std::size_t size = 1 << 20;
  const auto pool = CachePool::create(size);
  std::vector<std::shared_ptr<std::byte>> blocks;
  for (int i = 0; i < 20; ++i) {  // more than one piece
    blocks.push_back(pool->allocate());
    ASSERT_TRUE(all_zero(blocks.back().get(), size));
    std::fill_n(blocks.back().get(), size, static_cast<std::byte>(i + 1));
  }
  std::set<std::byte*> addresses;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(blocks[static_cast<std::size_t>(i)].get()[size - 1], static_cast<std::byte>(i + 1));
    addresses.insert(blocks[static_cast<std::size_t>(i)].get());
  }
  blocks.clear();
  for (int i = 0; i < 20; ++i) {
    blocks.push_back(pool->allocate());
    EXPECT_TRUE(addresses.contains(blocks.back().get())) << "memory was not used again";
    EXPECT_TRUE(all_zero(blocks.back().get(), size));
  }
}

TEST(CachePool, BlocksOutliveThePoolsOtherOwners) {
  auto pool = CachePool::create(100);
  const auto block = pool->allocate();
  pool.reset();
  std::fill_n(block.get(), 100, std::byte{1});
  EXPECT_EQ(block.get()[99], std::byte{1});
}

TEST(CachePool, BlocksAreAlignedForTheKernels) {
  const auto pool = CachePool::create(100);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pool->allocate().get()) % 64, 0U);
  }
}

}  // namespace
}  // namespace fathom
