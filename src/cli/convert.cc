#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/available_cpus.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "base/thread_team.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "formats/quantize.h"
#include "model/gguf_export.h"
#include "model/lora_adapter.h"
#include "model/model_files.h"

namespace fathom {
namespace {

constexpr std::uint64_t megabyte = 1'000'000;

struct Options {
  std::string in;
  std::string out;
  std::string type;
  std::string adapter;
  bool merge_routed = false;
  int threads = 0;
  bool json = false;
};

// Renaming over a file that is being read would take it from its owner.
void require_other_file(const std::string& in, const std::string& out) {
  const auto refuse_same = [&](const std::filesystem::path& path) {
    std::error_code ignored;
    if (std::filesystem::equivalent(path, out, ignored)) {
      throw FileError(out, "", "this is what is converted; give the new file another name");
    }
  };
  refuse_same(in);
  if (!std::filesystem::is_directory(in)) return;
  for (const auto& entry : std::filesystem::directory_iterator(in)) {
    // A file of ours that was put into the folder may be made anew.
    if (entry.path().extension() != ".gguf") refuse_same(entry.path());
  }
}

// The adapter that is to be merged. Throws InputError if it is for some rows only, unless that was
// asked for.
std::optional<LoraAdapter> open_adapter(const Options& options) {
  if (options.adapter.empty()) {
    if (options.merge_routed) throw InputError("--merge-routed goes with --adapter");
    return std::nullopt;
  }
  const ModelFiles files = ModelFiles::open(options.in);
  LoraAdapter adapter = LoraAdapter::open(options.adapter, files.config);
  check_adapter_base(adapter, options.in);
  if (adapter.settings.rows == AdapterRows::routed && !options.merge_routed) {
    throw InputError(fmt::format(
        "{}: this adapter acts on routed rows only; prompts and full depth are the model as it is. "
        "Merged into the weights it would change them, too, so it is better applied beside them "
        "(--adapter of the commands that run a model). --merge-routed merges it all the same",
        options.adapter));
  }
  return adapter;
}

struct Summary {
  std::map<std::string_view, std::size_t> types;  // tensors of each
  std::size_t tensors;
  std::uint64_t bytes;
  double seconds;
};

void print(const Options& options, const Summary& summary) {
  std::vector<std::string> types;
  for (const auto& [type, count] : summary.types)
    types.push_back(fmt::format("{} {}", count, type));
  fmt::print("{}: {} tensors ({}), {:.1f} MB in {:.1f} s\n", options.out, summary.tensors,
             fmt::join(types, ", "), static_cast<double>(summary.bytes) / megabyte,
             summary.seconds);
}

void print_as_json(const Options& options, const GgufExport& model, const Summary& summary) {
  Json types = Json::object();
  for (const auto& [type, count] : summary.types) types[std::string(type)] = count;
  Json adapter;
  if (!options.adapter.empty()) adapter = options.adapter;
  print_json({{"input", options.in},
              {"output", options.out},
              {"adapter", std::move(adapter)},
              {"type", info(model.type()).name},
              {"tensors", summary.tensors},
              {"tensors_by_type", std::move(types)},
              {"bytes", summary.bytes},
              {"seconds", summary.seconds},
              {"notes", model.notes()}});
}

int run(const Options& options) {
  const Stopwatch watch;
  if (options.in.empty() || options.out.empty()) throw InputError("convert needs IN and OUT");
  require_other_file(options.in, options.out);
  std::optional<TensorType> type;
  if (!options.type.empty()) type = quantizable_type_named(options.type);
  const std::optional<LoraAdapter> adapter = open_adapter(options);
  const GgufExport model = adapter ? GgufExport::open_merged(options.in, type, *adapter)
                                   : GgufExport::open(options.in, type);
  for (const std::string& note : model.notes()) {
    fmt::print(stderr, "fathom: {}: {}\n", options.in, note);
  }
  ThreadTeam team(options.threads);
  const StopFlag& stop = stop_on_interrupt();
  {
    Progress progress("MB", model.file_bytes() / megabyte);
    const bool done = model.write(options.out, team, [&](std::uint64_t bytes) {
      progress.done(bytes / megabyte);
      return !stop.load();
    });
    if (!done) return exit_interrupted;
  }
  Summary summary{.types = {},
                  .tensors = model.tensors().size(),
                  .bytes = model.file_bytes(),
                  .seconds = watch.seconds()};
  for (const GgufExport::Tensor& tensor : model.tensors()) ++summary.types[info(tensor.type).name];
  options.json ? print_as_json(options, model, summary) : print(options, summary);
  return 0;
}

}  // namespace

Command add_convert(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand(
      "convert", "Make a GGUF file of a Hugging Face folder, or of a GGUF file in another type");
  command->add_option("IN", options->in, "Hugging Face folder or GGUF file");
  command->add_option("OUT", options->out, "the file to make; replaced when the new one is whole");
  command
      ->add_option("--type", options->type,
                   "of matrices: f32, f16, bf16, q8_0, q4_0 or q4_1; default: as a folder has them")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"}));
  command->add_option("--adapter", options->adapter,
                      "folder of a LoRA adapter to merge into the weights");
  command->add_flag("--merge-routed", options->merge_routed,
                    "also one that acts on routed rows only: it then acts on all rows");
  options->threads = available_cpus();
  command->add_option("--threads", options->threads, "threads to convert with")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object (docs/json.md)");
  add_example(*command, "fathom convert ~/models/SmolLM2-360M-Instruct smollm2.gguf --type q8_0");
  return {command, [options] { return run(*options); }};
}

}  // namespace fathom
