#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "nn/torch_model.h"
#include "train/schedule.h"

namespace fathom {

/// What every training has options for: how steps are made, and where they are computed.
struct TrainingOptions {
  double learning_rate = 5e-5;
  double weight_decay = 0.01;
  double clip = 1;
  double warmup = 0.03;
  std::size_t batch = 8;
  std::size_t accumulate = 1;
  std::size_t max_tokens = 512;
  std::uint64_t save_every = 100;
  std::uint64_t seed = 0;
  std::string device = "cpu";
  std::string dtype = "float32";
  int threads = 0;

  /// Adds the options.
  void add_to(CLI::App& command);
  /// Those that results depend on, as a training's description holds them.
  void describe(nlohmann::ordered_json& options) const;
  /// Throws InputError if there is no such device or type.
  [[nodiscard]] TorchOptions torch() const;
  [[nodiscard]] LinearSchedule schedule(std::uint64_t steps) const;
  /// How many steps take so many epochs, which need not be whole, of so many rows: at least one.
  /// Each of `ranks` processes takes a batch.
  [[nodiscard]] std::uint64_t steps_of(double epochs, std::size_t rows, std::size_t ranks) const;
};

}  // namespace fathom
