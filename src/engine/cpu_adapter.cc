#include "engine/cpu_adapter.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "formats/dequantize.h"

namespace fathom {
namespace {

constexpr float largest_half = 65504;

std::vector<float> widened(const TensorView& tensor) {
  std::vector<float> values(tensor.elements());
  dequantize(tensor.type, tensor.bytes, values);
  return values;
}

float largest_magnitude(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// What to multiply A by, a power of two, and B to divide by, so that neither is far from 1: small
// numbers lose digits in float16, and 8-bit blocks have a scale in float16. A gets a little more,
// since its scales are a 127th of its numbers.
int balancing_exponent(std::span<const float> a, std::span<const float> b) {
  const float largest_a = largest_magnitude(a);
  const float largest_b = largest_magnitude(b);
  if (largest_a == 0 || largest_b == 0 || !std::isfinite(largest_b)) return 0;
  return static_cast<int>(std::lround((std::log2(largest_b) - std::log2(largest_a)) / 2)) + 3;
}

void multiply_by_power(std::span<float> values, int exponent) {
  for (float& value : values) value = std::ldexp(value, exponent);
}

// The factors of a map whose B has some rows of the stored one.
struct MapFactors {
  const LoraFactors* factors = nullptr;
  std::size_t first_output = 0;
  std::size_t outputs = 0;
};

class Packer {
 public:
  Packer(Precision precision, Arena& arena, ThreadTeam& team)
      : precision_(precision), arena_(arena), team_(team) {}

  // `integer` says whether the activations are quantised for one of the maps that read them.
  std::optional<AdapterGroup> group(std::initializer_list<MapFactors> maps, bool integer) const {
    std::vector<float> a;
    std::size_t inputs = 0;
    std::array<std::optional<AdapterGroup::Map>, 3> packed;
    std::size_t ranks = 0;
    const LoraFactors* last = nullptr;
    std::size_t slot = 0;
    int exponent = 0;
    for (const MapFactors& map : maps) {
      std::optional<AdapterGroup::Map>& place = packed.at(slot++);
      if (map.factors == nullptr) continue;
      const std::size_t rank = map.factors->rank();
      inputs = map.factors->a.shape[1];
      std::vector<float> b = widened(map.factors->b);
      for (float& value : b) value *= map.factors->scale;
      // Maps that are one in the file have one A.
      if (map.factors != last) {
        std::vector<float> rows = widened(map.factors->a);
        exponent = precision_ == Precision::fast ? balancing_exponent(rows, b) : 0;
        multiply_by_power(rows, exponent);
        a.insert(a.end(), rows.begin(), rows.end());
        ranks += rank;
        last = map.factors;
      }
      multiply_by_power(b, -exponent);
      const std::span<const float> rows_of_map =
          std::span(b).subspan(map.first_output * rank, map.outputs * rank);
      place.emplace(AdapterGroup::Map{.b = pack(rows_of_map, map.outputs, rank, TensorType::F16),
                                      .first = ranks - rank});
    }
    if (ranks == 0) return std::nullopt;
    return AdapterGroup{.a = pack_a(a, ranks, inputs, integer), .maps = packed};
  }

 private:
  PackedMatrix pack_a(std::span<const float> values, std::size_t ranks, std::size_t inputs,
                      bool integer) const {
    const bool in_blocks = integer && inputs % block_inputs == 0;
    return pack(values, ranks, inputs, in_blocks ? TensorType::Q8_0 : TensorType::F16);
  }

  PackedMatrix pack(std::span<const float> values, std::size_t rows, std::size_t columns,
                    TensorType fast) const {
    TensorView view{.name = "an adapter's factor",
                    .type = TensorType::F32,
                    .shape = {rows, columns},
                    .bytes = std::as_bytes(values)};
    if (precision_ == Precision::fast && largest_magnitude(values) <= largest_half) {
      view.converted = fast;
    }
    return {view, native_form(view.used_type()), {}, arena_, team_};
  }

  Precision precision_;
  Arena& arena_;
  ThreadTeam& team_;
};

bool any_integer(std::initializer_list<const PackedLinear*> maps) {
  return std::any_of(maps.begin(), maps.end(), [](const PackedLinear* map) {
    return map != nullptr && is_integer(map->weight.form());
  });
}

}  // namespace

std::size_t AdapterGroup::bytes() const {
  std::size_t sum = a.bytes();
  for (const auto& map : maps) {
    if (map) sum += map->b.bytes();
  }
  return sum;
}

std::size_t AdapterLayer::bytes() const {
  std::size_t sum = 0;
  for (const auto* const group : {&attention_input, &attention_output, &ffn_input, &down}) {
    if (*group) sum += (*group)->bytes();
  }
  return sum;
}

CpuAdapter::CpuAdapter(const LoraAdapter& adapter, const ModelConfig& config,
                       const CpuWeights& weights, Precision precision, ThreadTeam& team)
    : rows_(adapter.settings.rows) {
  const Packer packer(precision, arena_, team);
  const std::size_t query = config.query_width();
  const std::size_t kv = config.kv_width();
  for (LayerIndex l{0}; l.value < config.depth(); ++l) {
    const LoraLayer& lora = adapter.layers[l.index()];
    const PackedLayer& layer = weights.layer(l);
    // Where queries, keys and values are one map, each has its rows of B.
    const auto part = [&](LinearRole role, std::size_t offset, std::size_t outputs) -> MapFactors {
      if (const auto& fused = lora[LinearRole::query_key_value]) return {&*fused, offset, outputs};
      const auto& factors = lora[role];
      return {factors ? &*factors : nullptr, 0, outputs};
    };
    const auto whole = [&](LinearRole role) -> MapFactors {
      const auto& factors = lora[role];
      return {factors ? &*factors : nullptr, 0, linear_shape(config, role).outputs};
    };
    layers_.push_back({
        .attention_input =
            packer.group({part(LinearRole::query, 0, query), part(LinearRole::key, query, kv),
                          part(LinearRole::value, query + kv, kv)},
                         any_integer({&layer.query, &layer.key, &layer.value})),
        .attention_output = packer.group({whole(LinearRole::attention_output)},
                                         any_integer({&layer.attention_output})),
        .ffn_input = packer.group({whole(LinearRole::gate), whole(LinearRole::up)},
                                  any_integer({layer.gate ? &*layer.gate : nullptr, &layer.up})),
        .down = packer.group({whole(LinearRole::down)}, any_integer({&layer.down})),
    });
  }
}

}  // namespace fathom
