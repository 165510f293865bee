#pragma once

#include <cstddef>

#include "base/thread_team.h"

namespace fathom {

/// How fast this machine reads memory, in bytes a second: the best of several passes of the whole
/// team over a buffer of four times the last cache's size, or of half the free memory if that is
/// less, but at least 256 MiB. Takes about a second.
struct ReadBandwidth {
  double bytes_per_second = 0;
  std::size_t buffer_bytes = 0;
};
ReadBandwidth measure_read_bandwidth(ThreadTeam& team);

}  // namespace fathom
