#include "train/launch.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"

namespace fathom {
namespace {

std::optional<std::size_t> number(const char* text) {
  if (text == nullptr) return std::nullopt;
  const std::string_view digits = text;
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value);
  if (error != std::errc() || end != digits.end()) return std::nullopt;
  return value;
}

}  // namespace

Launch find_launch(const std::function<const char*(const char* name)>& variable) {
  // Open MPI's mpirun; PMI of MPICH's and Intel's mpiexec and of srun; PMIx of prun and srun.
  constexpr std::array by_mpi{"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK"};
  Launch launch;
  launch.by_mpi =
      std::ranges::any_of(by_mpi, [&](const char* name) { return variable(name) != nullptr; });
  // The last is srun's: that of a job step, which batch scripts are none of.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    if (!launch.ranks) launch.ranks = number(variable(name));
  }
  return launch;
}

std::unique_ptr<Ranks> open_ranks() {
  const Launch launch = find_launch([](const char* name) { return std::getenv(name); });
  const std::size_t started = launch.ranks.value_or(1);
  std::unique_ptr<Ranks> ranks;
  if (launch.by_mpi) {
    ranks = open_mpi_ranks();
    if (ranks == nullptr && started > 1) {
      throw InputError("this is one of " + std::to_string(started) +
                       " processes, but fathom-torch was built without MPI; expected one process, "
                       "or a build where an MPI library is installed");
    }
  }
  if (ranks == nullptr) ranks = one_rank();
  // Each would train on its own and write the same files.
  if (started > 1 && ranks->size() == 1) {
    throw InputError("this is one of " + std::to_string(started) +
                     " processes that cannot reach each other: expected the mpirun of the MPI "
                     "library that fathom-torch was built with, or srun --mpi=pmix");
  }
  return ranks;
}

}  // namespace fathom
