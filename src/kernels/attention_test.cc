#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/aligned_buffer.h"
#include "formats/dequantize.h"
#include "kernels/kernels.h"
#include "kernels/random_values.h"

namespace fathom {
namespace {

constexpr float call_scale = 0.25F;

/// Which positions a query sees.
struct Sees {
  std::size_t first;
  std::size_t end;
};

/// One key/value head with its positions in blocks, and what to ask of it.
class AttentionHead {
 public:
  AttentionHead(const Kernels& kernels, CacheElement element, std::size_t head_dim,
                std::size_t positions)
      : kernels_(kernels), element_(element), head_dim_(head_dim), positions_(positions) {
    keys_ = random_values(positions * head_dim, 1);
    values_ = random_values(positions * head_dim, 2);
    queries_ = random_values(attention_queries * head_dim, 3, 2.0F);
    write_blocks();
  }

  void set_key(std::size_t position, std::size_t dimension, float value) {
    keys_[position * head_dim_ + dimension] = value;
    write_blocks();
  }
  void set_value(std::size_t position, std::size_t dimension, float value) {
    values_[position * head_dim_ + dimension] = value;
    write_blocks();
  }

  /// The states of some queries of which query i sees sees[i], after parts first_part to end_part.
  std::vector<std::vector<float>> states(const std::vector<std::size_t>& wanted,
                                         const std::vector<Sees>& sees, std::size_t first_part,
                                         std::size_t end_part) const {
    const std::size_t floats = attention_state_floats(stride());
    AlignedBuffer<float> states(wanted.size() * floats);
    AlignedBuffer<float> scratch(attention_scratch_floats(head_dim_, stride()));
    std::vector<AttentionQuery> queries;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const std::size_t query = wanted[i];
      queries.push_back({.values = &queries_[query * head_dim_],
                         .first = sees[query].first,
                         .end = sees[query].end,
                         .state = states.data() + i * floats});
    }
    std::vector<const std::byte*> pointers;
    for (const auto& block : blocks_) pointers.push_back(block.data());
    kernels_.attend[static_cast<std::size_t>(element_)](
        {.queries = queries.data(),
         .count = queries.size(),
         .first_part = first_part,
         .end_part = end_part,
         .head_dim = head_dim_,
         .value_stride = stride(),
         .blocks = pointers.data(),
         .key_offset = 0,
         .value_offset = head_key_bytes(element_, head_dim_),
         .scale = call_scale,
         .scratch = scratch.data()});
    std::vector<std::vector<float>> result;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      result.emplace_back(states.data() + i * floats, states.data() + (i + 1) * floats);
    }
    return result;
  }

  std::vector<float> finish(const std::vector<float>& state) const {
    std::vector<float> out(head_dim_ + 1, 777);
    kernels_.finish_attention(state.data(), head_dim_, stride(), out.data());
    EXPECT_EQ(out.back(), 777) << "wrote past its end";
    out.pop_back();
    return out;
  }

  /// A query's attention, all at once and alone.
  std::vector<float> alone(std::size_t query, const std::vector<Sees>& sees) const {
    return finish(states({query}, sees, 0, parts())[0]);
  }

  /// The same by definition.
  std::vector<double> expected(std::size_t query, Sees sees) const {
    std::vector<double> score;
    for (std::size_t p = sees.first; p < sees.end; ++p) {
      double sum = 0;
      for (std::size_t d = 0; d < head_dim_; ++d) {
        sum += static_cast<double>(queries_[query * head_dim_ + d]) * keys_[p * head_dim_ + d];
      }
      score.push_back(call_scale * sum);
    }
    const double largest = *std::max_element(score.begin(), score.end());
    double total = 0;
    for (double& s : score) total += s = std::exp(s - largest);
    std::vector<double> out(head_dim_, 0);
    for (std::size_t i = 0; i < score.size(); ++i) {
      for (std::size_t d = 0; d < head_dim_; ++d) {
        out[d] += score[i] / total * values_[(sees.first + i) * head_dim_ + d];
      }
    }
    return out;
  }

  std::size_t parts() const {
    return (positions_ + attention_part_positions - 1) / attention_part_positions;
  }

 private:
  std::size_t stride() const { return (head_dim_ + 15) / 16 * 16; }

  template <class Element, class Convert>
  void write(std::size_t p, std::byte* block, std::size_t lane, const Convert& convert) const {
    auto* const keys = reinterpret_cast<Element*>(block);
    auto* const values =
        reinterpret_cast<Element*>(block + head_key_bytes(element_, head_dim_)) + lane * stride();
    for (std::size_t d = 0; d < head_dim_; ++d) {
      keys[d * cache_block_positions + lane] = convert(keys_[p * head_dim_ + d]);
      values[d] = convert(values_[p * head_dim_ + d]);
    }
  }

  void write_blocks() {
    blocks_.clear();
    const std::size_t bytes =
        head_key_bytes(element_, head_dim_) + head_value_bytes(element_, stride());
    for (std::size_t p = 0; p < positions_; ++p) {
      const std::size_t lane = p % cache_block_positions;
      if (lane == 0) {
        // What lies beyond the last position must not matter: of floats, however large; of fixed16,
        // whatever it is.
        AlignedBuffer<std::byte>& block = blocks_.emplace_back(bytes);
        std::memset(block.data(), element_ == CacheElement::fixed16 ? 0xff : 0x7b, bytes);
      }
      std::byte* const block = blocks_.back().data();
      switch (element_) {
        case CacheElement::float32:
          write<float>(p, block, lane, [](float x) { return x; });
          break;
        case CacheElement::half:
          write<std::uint16_t>(p, block, lane, half_from_float);
          break;
        case CacheElement::fixed16:
          kernels_.store_fixed16(&keys_[p * head_dim_], &values_[p * head_dim_], head_dim_,
                                 stride(), lane, block,
                                 block + head_key_bytes(element_, head_dim_));
      }
    }
  }

  const Kernels& kernels_;
  CacheElement element_;
  std::size_t head_dim_;
  std::size_t positions_;
  std::vector<float> keys_, values_, queries_;
  std::vector<AlignedBuffer<std::byte>> blocks_;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Each set of kernels with each kind of cache that it reads.
struct AttentionCase {
  const Kernels* kernels;
  CacheElement element;
  double tolerance;
};

std::vector<AttentionCase> attention_cases() {
  std::vector<AttentionCase> cases;
  for (const Kernels* const kernels : available_kernels()) {
    cases.push_back({kernels, CacheElement::float32, 2e-5});
    // Keys and values in float16 are off by 2^-11 of themselves each: scores of up to about 20 move
    // by about 0.01.
    cases.push_back({kernels, CacheElement::half, 3e-2});
    // Those in fixed16 by 2^-16 of the largest among them, and the products of low bytes are
    // missing. Scores are sums of 128 products of up to about 10 * 4 / 4, values are up to 4.
    if (kernels->fast_cache == CacheElement::fixed16) {
      cases.push_back({kernels, CacheElement::fixed16, 2e-3});
    }
  }
  return cases;
}

class AttentionTest : public testing::TestWithParam<AttentionCase> {
 protected:
  static AttentionHead head(std::size_t head_dim, std::size_t positions) {
    return {*GetParam().kernels, GetParam().element, head_dim, positions};
  }
};

INSTANTIATE_TEST_SUITE_P(All, AttentionTest, testing::ValuesIn(attention_cases()),
                         [](const auto& instance) {
                           const char* const element =
                               instance.param.element == CacheElement::float32 ? "float32"
                               : instance.param.element == CacheElement::half  ? "half"
                                                                               : "fixed16";
                           return std::string(instance.param.kernels->name) + "_" + element;
                         });

/// Query q does not see the last q positions, as queries of a prompt's rows, and of a long sequence
/// every second not the first ones either.
std::vector<Sees> seen_by_queries(std::size_t positions) {
  std::vector<Sees> sees;
  for (std::size_t q = 0; q < attention_queries; ++q) {
    const std::size_t end = positions > q ? positions - q : 1;
    sees.push_back({q % 2 == 1 && end > 150 ? end - 150 : 0, end});
  }
  return sees;
}

std::vector<std::size_t> first_queries(std::size_t count) {
  std::vector<std::size_t> queries(count);
  for (std::size_t q = 0; q < count; ++q) queries[q] = q;
  return queries;
}

TEST_P(AttentionTest, EqualsItsDefinition) {
  for (const std::size_t head_dim : {10U, 16U, 24U, 64U, 80U, 128U}) {
    for (const std::size_t positions : {1U, 5U, 63U, 64U, 65U, 200U, 256U, 257U, 600U}) {
      const AttentionHead attention = head(head_dim, positions);
      const std::vector<Sees> sees = seen_by_queries(positions);
      const auto states =
          attention.states(first_queries(attention_queries), sees, 0, attention.parts());
      for (std::size_t q = 0; q < attention_queries; ++q) {
        const std::vector<double> expected = attention.expected(q, sees[q]);
        const std::vector<float> out = attention.finish(states[q]);
        for (std::size_t d = 0; d < head_dim; ++d) {
          ASSERT_NEAR(out[d], expected[d], GetParam().tolerance)
              << "head_dim " << head_dim << " positions " << positions << " query " << q;
        }
      }
    }
  }
}

TEST_P(AttentionTest, AQuerysBitsDependOnNoOther) {
  for (const std::size_t positions : {70U, 300U}) {
    const AttentionHead attention = head(64, positions);
    const std::vector<Sees> sees = seen_by_queries(positions);
    std::vector<std::vector<float>> alone;
    for (std::size_t q = 0; q < attention_queries; ++q) {
      alone.push_back(attention.alone(q, sees));
    }
    for (std::size_t count = 1; count <= attention_queries; ++count) {
      const auto states = attention.states(first_queries(count), sees, 0, attention.parts());
      for (std::size_t q = 0; q < count; ++q) {
        ASSERT_TRUE(same_bits(attention.finish(states[q]), alone[q])) << count << " queries";
      }
    }
  }
}

TEST_P(AttentionTest, PartsAddedInOrderGiveTheBitsOfAllAtOnce) {
  const AttentionHead attention = head(64, 900);
  std::vector<Sees> sees = seen_by_queries(900);
  sees[2] = {700, 900};  // nothing of the first two
  sees[4] = {0, 90};     // nothing but the first
  const std::size_t stride = 64;
  const std::vector<std::size_t> queries = first_queries(7);
  auto together = attention.states(queries, sees, 0, 1);
  for (std::size_t part = 1; part < attention.parts(); ++part) {
    const auto following = attention.states(queries, sees, part, part + 1);
    for (const std::size_t q : queries) {
      GetParam().kernels->add_attention(together[q].data(), stride, following[q].data());
    }
  }
  for (const std::size_t q : queries) {
    EXPECT_TRUE(same_bits(attention.finish(together[q]), attention.alone(q, sees))) << q;
  }
}

TEST_P(AttentionTest, WhatIsNotFiniteShowsWhereItIsSeenOnly) {
  for (const float strange :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    AttentionHead in_key = head(64, 100);
    in_key.set_key(40, 5, strange);
    AttentionHead in_value = head(64, 100);
    in_value.set_value(40, 5, strange);
    std::vector<Sees> sees(attention_queries, Sees{0, 100});
    sees[1] = {0, 40};
    EXPECT_FALSE(std::isfinite(in_value.alone(0, sees)[5]));
    // A key far off may also take all the weight.
    const float out = in_key.alone(0, sees)[5];
    EXPECT_TRUE(!std::isfinite(out) || std::isinf(strange)) << out;
    if (GetParam().element == CacheElement::fixed16) {
      EXPECT_TRUE(std::isfinite(in_value.alone(1, sees)[5]));
      EXPECT_TRUE(std::isfinite(in_key.alone(1, sees)[5]));
    }
  }
}

// amx says so, and so one may be measured against the other on the same answers.
TEST(Attention, AmxGivesTheBitsOfAvx512vnni) {
  const std::vector<const Kernels*> available = available_kernels();
  if (available.front()->name != "amx") GTEST_SKIP() << "this machine has no AMX";
  ASSERT_EQ(available[1]->name, "avx512vnni");
  for (const std::size_t head_dim : {24U, 64U, 80U, 128U}) {
    for (const std::size_t positions : {5U, 300U, 600U}) {
      const AttentionHead amx(*available[0], CacheElement::fixed16, head_dim, positions);
      const AttentionHead vnni(*available[1], CacheElement::fixed16, head_dim, positions);
      const std::vector<Sees> sees = seen_by_queries(positions);
      const std::vector<std::size_t> all = first_queries(attention_queries);
      const auto by_amx = amx.states(all, sees, 0, amx.parts());
      const auto by_vnni = vnni.states(all, sees, 0, vnni.parts());
      for (const std::size_t q : all) {
        ASSERT_TRUE(same_bits(amx.finish(by_amx[q]), vnni.finish(by_vnni[q])))
            << "head_dim " << head_dim << " positions " << positions << " query " << q;
      }
    }
  }
}

}  // namespace
}  // namespace fathom
