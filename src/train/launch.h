#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "train/ranks.h"

namespace fathom {

/// How this process was started, by what launchers leave in the environment.
struct Launch {
  bool by_mpi = false;               ///< mpirun, or srun with one of its MPI plugins
  std::optional<std::size_t> ranks;  ///< how many were started, if it is said

  bool operator==(const Launch&) const = default;
};

/// `variable` gives an environment variable's value, null if it is not set.
Launch find_launch(const std::function<const char*(const char* name)>& variable);

/// The ranks that this process was started as one of; itself alone if no launcher started it, MPI
/// is then not touched. Throws InputError if there are several that cannot reach each other.
std::unique_ptr<Ranks> open_ranks();

/// Those that MPI connects; null in a program that was built without it.
std::unique_ptr<Ranks> open_mpi_ranks();

}  // namespace fathom
