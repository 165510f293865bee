#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/study_summary.h"
#include "study/controllers_report.h"
#include "study/layers_report.h"
#include "study/oracle_report.h"
#include "study/run_folder.h"
#include "study/similarity_report.h"

namespace fathom {
namespace {

int run(const std::string& path) {
  const RunFolder folder = RunFolder::open_to_report(path);
  const std::string& study = folder.config().study;
  if (study == "similarity") {
    print_summary(report_similarity(folder), folder);
  } else if (study == "layers") {
    print_summary(report_layers(folder), folder);
  } else if (study == "oracle") {
    print_summary(report_oracle(folder), folder);
  } else if (study == "controllers") {
    print_summary(report_controllers(folder), folder);
  } else {
    throw FileError(path, "", fmt::format("a study '{}', which this version does not know", study));
  }
  return 0;
}

}  // namespace

Command add_report(CLI::App& program) {
  auto path = std::make_shared<std::string>();
  CLI::App* const command = program.add_subcommand(
      "report", "Makes a study's tables, figures and report anew from its results");
  command->add_option("DIR", *path, "the study's folder")->required();
  add_example(*command, "fathom report runs/similarity");
  return {command, [path] { return run(*path); }};
}

}  // namespace fathom
