#include "base/available_cpus.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sched.h>
#include <string>
#include <thread>

namespace fathom {
namespace {

int affinity_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// cgroup v2 writes "QUOTA PERIOD" or "max PERIOD" in microseconds. A container sees its own group
// as the root of its cgroup namespace.
int quota_cpus(int limit) {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return limit;
  try {
    return std::clamp(static_cast<int>(std::ceil(std::stod(quota) / period)), 1, limit);
  } catch (const std::exception&) {
    return limit;
  }
}

}  // namespace

int available_cpus() { return quota_cpus(affinity_cpus()); }

}  // namespace fathom
