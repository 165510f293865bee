#include "cli/study_run.h"

#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "base/sha256.h"
#include "cli/command.h"
#include "cli/version.h"
#include "kernels/kernels.h"
#include "model/model_hash.h"

namespace fathom {

RunConfig run_config(std::string_view study, const DataOptions& data,
                     const ModelOption& model_option, const EngineOptions& engine,
                     const RunningModel& running, const std::vector<Example>& examples,
                     nlohmann::ordered_json study_options, const std::string& command_line) {
  const ModelFiles& files = running.model().files();
  RunConfig config{.study = std::string(study),
                   .versions = {std::string(version())},
                   .command = command_line,
                   .model_path = files.path,
                   .model_name = files.name,
                   .model_sha256 = model_sha256(files.path),
                   .layers = files.config.depth(),
                   .data_path = data.path,
                   .data_sha256 = sha256_of_file(data.path),
                   .data_kind = std::string(name(examples.front().kind)),
                   .rows = examples.size(),
                   .options = std::move(study_options)};
  data.describe(config.options);
  config.options["precision"] = engine.precision;
  if (!model_option.quantize.empty()) config.options["quantize"] = model_option.quantize;
  // By what it is, wherever it lies; its keys as they are read back, in the order of the alphabet.
  if (const auto& adapter = running.adapter()) {
    config.options["adapter"] = {
        {"rank", adapter->rank}, {"rows", name(adapter->rows)}, {"sha256", adapter->sha256}};
  }
  // Their sums differ in the last bits.
  config.options["kernels"] = kernels().name;
  return config;
}

RunFolder open_run(const std::string& folder, const RunConfig& config) {
  RunFolder run = RunFolder::open_to_measure(folder, config);
  for (const std::string& warning : run.warnings()) {
    fmt::print(stderr, "fathom: {}: {}\n", folder, warning);
  }
  return run;
}

int report_stopped(const std::string& folder, Unfinished unfinished) {
  fmt::print(stderr,
             "fathom: {}: stopped; what was measured is kept, and the same command goes on from "
             "there.{}\n",
             folder,
             unfinished == Unfinished::is_reported
                 ? fmt::format(" `fathom report {}` shows it.", folder)
                 : "");
  return exit_interrupted;
}

}  // namespace fathom
