#include "train/launch.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

namespace fathom {
namespace {

Launch launch_of(const std::map<std::string, std::string>& environment) {
  return find_launch([&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

TEST(Launch, IsWhatLaunchersLeave) {
  EXPECT_EQ(launch_of({{"PATH", "/bin"}}), (Launch{.by_mpi = false, .ranks = std::nullopt}));
  EXPECT_EQ(launch_of({{"OMPI_COMM_WORLD_SIZE", "2"}}), (Launch{.by_mpi = true, .ranks = 2}));
  EXPECT_EQ(launch_of({{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}}),
            (Launch{.by_mpi = true, .ranks = 4}));
  EXPECT_EQ(launch_of({{"PMIX_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "8"}}),
            (Launch{.by_mpi = true, .ranks = 8}));
  // srun without a plugin for MPI, and a batch script's own commands.
  EXPECT_EQ(launch_of({{"SLURM_STEP_NUM_TASKS", "8"}}), (Launch{.by_mpi = false, .ranks = 8}));
  EXPECT_EQ(launch_of({{"SLURM_NTASKS", "8"}}), (Launch{.by_mpi = false, .ranks = std::nullopt}));
  EXPECT_EQ(launch_of({{"PMI_SIZE", "many"}}), (Launch{.by_mpi = true, .ranks = std::nullopt}));
}

TEST(Launch, OfNobodyIsOneRank) {
  const auto ranks = open_ranks();
  EXPECT_EQ(ranks->size(), 1U);
  EXPECT_TRUE(ranks->is_first());
  EXPECT_EQ(ranks->sum(2.5), 2.5);
  EXPECT_TRUE(ranks->any(true));
  EXPECT_FALSE(ranks->any(false));
  EXPECT_EQ(ranks->broadcast(std::string("text")), "text");
}

}  // namespace
}  // namespace fathom
