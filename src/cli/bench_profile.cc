#include "cli/bench_profile.h"

#include <cstdint>
#include <string_view>

#include <fmt/format.h>

namespace fathom {
namespace {

template <class Visit>
void for_each_operation(const Profile& profile, const Visit& visit) {
  for (std::size_t i = 0; i < operation_count; ++i) {
    const auto operation = static_cast<Operation>(i);
    if (profile[operation].calls > 0) visit(operation, profile[operation]);
  }
}

std::string amount(std::uint64_t count, double unit) {
  return count == 0 ? "" : fmt::format("{:.2f}", static_cast<double>(count) / unit);
}

}  // namespace

void print_profile(const ProfiledPasses& profiled) {
  const auto passes = static_cast<double>(profiled.passes);
  fmt::print("\n{}, depth {}: a pass takes {:.3f} ms (mean of {})\n", profiled.phase,
             profiled.depth, 1e3 * profiled.seconds / passes, profiled.passes);
  fmt::print("{:<20}{:>10}{:>12}{:>8}{:>12}{:>10}{:>14}{:>10}\n", "operation", "calls", "ms a pass",
             "share", "MB a pass", "GB/s", "M mul-adds", "G/s");
  const auto row = [&](std::string_view name, const Profile::Entry& entry) {
    const Volume& volume = entry.volume;
    fmt::print("{:<20}{:>10.1f}{:>12.3f}{:>7.1f}%{:>12}{:>10}{:>14}{:>10}\n", name,
               static_cast<double>(entry.calls) / passes, 1e3 * entry.seconds / passes,
               100 * entry.seconds / profiled.seconds, amount(volume.bytes, 1e6 * passes),
               amount(volume.bytes, 1e9 * entry.seconds),
               amount(volume.multiply_adds, 1e6 * passes),
               amount(volume.multiply_adds, 1e9 * entry.seconds));
  };
  Profile::Entry products;
  for_each_operation(profiled.profile, [&](Operation operation, const Profile::Entry& entry) {
    row(name(operation), entry);
    if (!is_weight_product(operation)) return;
    products.calls += entry.calls;
    products.seconds += entry.seconds;
    products.volume.bytes += entry.volume.bytes;
    products.volume.multiply_adds += entry.volume.multiply_adds;
  });
  const double attention = profiled.profile[Operation::attention].seconds;
  row("all products", products);
  row("all but products and attention",
      {.calls = 0, .seconds = profiled.seconds - products.seconds - attention, .volume = {}});
}

Json profile_json(const ProfiledPasses& profiled) {
  const auto passes = static_cast<double>(profiled.passes);
  Json operations = Json::array();
  for_each_operation(profiled.profile, [&](Operation operation, const Profile::Entry& entry) {
    operations.push_back({{"operation", name(operation)},
                          {"calls", entry.calls},
                          {"seconds", entry.seconds},
                          {"share", entry.seconds / profiled.seconds},
                          {"bytes", entry.volume.bytes},
                          {"multiply_adds", entry.volume.multiply_adds}});
  });
  return {{"depth", profiled.depth},
          {"phase", profiled.phase},
          {"passes", profiled.passes},
          {"seconds", profiled.seconds},
          {"seconds_per_pass", profiled.seconds / passes},
          {"operations", std::move(operations)}};
}

}  // namespace fathom
