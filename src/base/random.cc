#include "base/random.h"

namespace fathom {
namespace {

// Mixes a 64-bit value so that nearby inputs give unrelated outputs [Steele et al. 2014].
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t sequence_key(std::string_view id) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = 0xd2511f53ULL * counter[0];
    const std::uint64_t p1 = 0xcd9e8d57ULL * counter[2];
    counter = {
        static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
        static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += 0x9e3779b9U;
    key[1] += 0xbb67ae85U;
  }
  return counter;
}

RandomStream::RandomStream(const RandomKey& key) {
  // The seed, purpose and sequence make the generator's key; position and layer half its counter,
  // and the number of the draw the other half.
  const std::uint64_t k =
      mix(mix(mix(key.seed) ^ static_cast<std::uint64_t>(key.purpose)) ^ key.sequence);
  key_ = {static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32)};
  counter_ = {0, 0, key.position, key.layer};
}

std::uint64_t RandomStream::next() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const auto words = philox(counter_, key_);
  if (++counter_[0] == 0) ++counter_[1];
  spare_ = (static_cast<std::uint64_t>(words[3]) << 32) | words[2];
  has_spare_ = true;
  return (static_cast<std::uint64_t>(words[1]) << 32) | words[0];
}

double RandomStream::uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

std::uint64_t RandomStream::below(std::uint64_t bound) {
  // Values under 2^64 mod bound are drawn again: what is left is a whole number of `bound`s.
  const std::uint64_t reject = (0 - bound) % bound;
  std::uint64_t value = next();
  while (value < reject) value = next();
  return value % bound;
}

}  // namespace fathom
