#include "cli/training_options.h"

#include <algorithm>
#include <limits>

#include "base/available_cpus.h"
#include "train/batches.h"

namespace fathom {

void TrainingOptions::add_to(CLI::App& command) {
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  command.add_option("--batch", batch, "rows that are computed together")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command.add_option("--accumulate", accumulate, "batches of a step")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command.add_option("--max-tokens", max_tokens, "of a row; a prompt gets a quarter")
      ->check(CLI::Range(std::int64_t{4}, std::int64_t{1} << 20))
      ->capture_default_str();
  command.add_option("--learning-rate", learning_rate, "at its highest")
      ->check(CLI::Range(1e-12, 1.0))
      ->capture_default_str();
  command.add_option("--warmup", warmup, "share of the steps over which it rises")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--weight-decay", weight_decay, "of matrices")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  command.add_option("--clip", clip, "norm that gradients are clipped to; 0: none")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command.add_option("--save-every", save_every, "steps between checkpoints")
      ->check(CLI::Range(std::int64_t{1}, most))
      ->capture_default_str();
  command.add_option("--seed", seed, "of the rows' order and of all that is drawn")
      ->check(CLI::Range(most))
      ->capture_default_str();
  command.add_option("--device", device, "cpu or cuda")->capture_default_str();
  command
      .add_option("--dtype", dtype, "of products: float32 or bfloat16; weights are kept in float32")
      ->capture_default_str();
  threads = available_cpus();
  command.add_option("--threads", threads, "threads to compute with")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
}

void TrainingOptions::describe(nlohmann::ordered_json& options) const {
  options["learning_rate"] = learning_rate;
  options["warmup"] = warmup;
  options["weight_decay"] = weight_decay;
  options["clip"] = clip;
  options["batch"] = batch;
  options["accumulate"] = accumulate;
  options["max_tokens"] = max_tokens;
  options["device"] = device;
  options["dtype"] = dtype;
  options["seed"] = seed;
}

TorchOptions TrainingOptions::torch() const {
  return {.device = parse_torch_device(device), .type = parse_torch_type(dtype)};
}

LinearSchedule TrainingOptions::schedule(std::uint64_t steps) const {
  return {.peak = learning_rate,
          .warmup = static_cast<std::uint64_t>(warmup * static_cast<double>(steps)),
          .steps = steps};
}

std::uint64_t TrainingOptions::steps_of(double epochs, std::size_t rows, std::size_t ranks) const {
  const auto of_epoch = static_cast<double>(epoch_steps(rows, batch * ranks, accumulate));
  return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(epochs * of_epoch));
}

}  // namespace fathom
