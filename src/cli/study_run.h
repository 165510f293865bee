#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/data_options.h"
#include "cli/model_options.h"
#include "data/examples.h"
#include "study/run_folder.h"

namespace fathom {

/// What a study's run depends on: `study_options` are the study's own, to which those of data,
/// of the weights' type, of the adapter and of the engine are added.
RunConfig run_config(std::string_view study, const DataOptions& data,
                     const ModelOption& model_option, const EngineOptions& engine,
                     const RunningModel& running, const std::vector<Example>& examples,
                     nlohmann::ordered_json study_options, const std::string& command_line);

/// RunFolder::open_to_measure(), with its warnings printed.
RunFolder open_run(const std::string& folder, const RunConfig& config);

/// Whether `fathom report` takes a run of the study that is not complete.
enum class Unfinished { is_reported, is_not_reported };

/// Says that a run was stopped and how to go on. Returns the exit code.
int report_stopped(const std::string& folder, Unfinished unfinished);

}  // namespace fathom
