#pragma once

namespace fathom {

/// How many CPUs this process may keep busy: those its affinity mask allows, and no more than its
/// cgroup's quota grants (rounded up). At least 1.
int available_cpus();

}  // namespace fathom
