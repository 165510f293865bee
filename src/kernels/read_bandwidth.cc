#include "kernels/read_bandwidth.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <unistd.h>

#include "base/aligned_buffer.h"
#include "base/stopwatch.h"

namespace fathom {
namespace {

std::size_t sysconf_bytes(int name) {
  const long value = ::sysconf(name);
  return value > 0 ? static_cast<std::size_t>(value) : 0;
}

std::size_t buffer_size() {
  constexpr std::size_t smallest = std::size_t{256} << 20;
  const std::size_t wanted = std::max(4 * sysconf_bytes(_SC_LEVEL3_CACHE_SIZE), smallest);
  const std::size_t free = sysconf_bytes(_SC_AVPHYS_PAGES) * sysconf_bytes(_SC_PAGESIZE);
  return std::min(wanted, std::max(free / 2, smallest));
}

// Reads everything; the sum keeps the compiler from leaving it out. Eight sums, so that additions
// do not wait for each other.
std::uint64_t sum_words(const std::uint64_t* words, std::size_t count) {
  std::array<std::uint64_t, 8> sums{};
  for (std::size_t i = 0; i + 8 <= count; i += 8) {
    for (std::size_t k = 0; k < 8; ++k) sums[k] += words[i + k];
  }
  std::uint64_t total = 0;
  for (const std::uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace

ReadBandwidth measure_read_bandwidth(ThreadTeam& team) {
  const std::size_t words = buffer_size() / sizeof(std::uint64_t);
  AlignedBuffer<std::uint64_t> buffer(words);
  std::atomic<std::uint64_t> checksum{0};
  const auto for_shares = [&](auto&& work) {
    team.run([&](int worker) {
      const WorkRange range =
          share_of(words, static_cast<std::size_t>(worker), static_cast<std::size_t>(team.size()));
      work(buffer.data() + range.begin, range.end - range.begin);
    });
  };
  for_shares([](std::uint64_t* part, std::size_t count) { std::fill_n(part, count, 1); });
  double best = 0;
  constexpr int passes = 6;
  for (int pass = 0; pass < passes; ++pass) {
    const Stopwatch watch;
    for_shares([&](const std::uint64_t* part, std::size_t count) {
      checksum.fetch_add(sum_words(part, count), std::memory_order_relaxed);
    });
    best = std::max(best, static_cast<double>(words * sizeof(std::uint64_t)) / watch.seconds());
  }
  return {.bytes_per_second = checksum.load() == 0 ? 0 : best,
          .buffer_bytes = words * sizeof(std::uint64_t)};
}

}  // namespace fathom
