#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/stopwatch.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/model_options.h"
#include "depth/policy.h"
#include "generate/generator.h"
#include "kernels/read_bandwidth.h"
#include "metrics/summary.h"

namespace fathom {
namespace {

struct Options {
  ModelOption model;
  EngineOptions engine;
  std::string depth = "full";
  std::size_t prompt_tokens = 512;
  std::size_t new_tokens = 128;
  std::size_t context = 1;
  std::size_t repeat = 5;
  bool json = false;
};

// What is measured at one depth: tokens a second, one value a repetition.
struct Measured {
  DepthPolicy policy;
  Route route;
  std::vector<double> prefill;
  std::vector<double> decode;
};

// Tokens that cost what any others do, the same in every run.
std::vector<TokenId> some_tokens(std::size_t count, const ModelConfig& config) {
  RandomStream random({.seed = 1});
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < count; ++i) {
    tokens.emplace_back(static_cast<std::int32_t>(random.below(config.vocabulary)));
  }
  return tokens;
}

class Bench {
 public:
  Bench(const Options& options, CpuModel& model, const StopFlag& stop)
      : options_(options), model_(model), stop_(stop) {
    const std::size_t longest =
        std::max(options.prompt_tokens, options.context + options.new_tokens);
    if (longest > model.config().context) {
      throw InputError(fmt::format("{} tokens were asked for; the model's context is {}", longest,
                                   model.config().context));
    }
    tokens_ = some_tokens(longest, model.config());
    start_ = model.new_cache(model.config().context);
    prefill(model, *start_, std::span(tokens_).first(options.context), default_prefill_chunk,
            start_output_, stop);
  }

  // Every depth once, so that the machine's moods hit all alike.
  void repeat(std::vector<Measured>& depths) {
    for (Measured& depth : depths) {
      measure_prefill(depth);
      measure_decode(depth);
    }
  }

 private:
  void measure_prefill(Measured& depth) {
    const auto cache = model_.new_cache(options_.prompt_tokens);
    const Stopwatch watch;
    prefill(model_, *cache, std::span(tokens_).first(options_.prompt_tokens), default_prefill_chunk,
            output_, stop_);
    depth.prefill.push_back(static_cast<double>(options_.prompt_tokens) / watch.seconds());
  }

  // Greedy decoding as generate() does it, less the text.
  void measure_decode(Measured& depth) {
    const auto cache = start_->fork();
    const RouteSelector selector(depth.route);
    Sampler sampler({});
    TokenId token = sampler.sample(start_output_.logit_row(0), {}, {});
    const Stopwatch watch;
    for (std::size_t i = 0; i < options_.new_tokens && !stop_.load(); ++i) {
      const std::array input{token};
      const SequenceStep step{.cache = cache.get(),
                              .tokens = input,
                              .role = RowRole::routed,
                              .selector = &selector,
                              .logits = LogitRows::last};
      model_.forward(std::span(&step, 1), output_, nullptr);
      token = sampler.sample(output_.logit_row(0), {}, {});
    }
    depth.decode.push_back(static_cast<double>(options_.new_tokens) / watch.seconds());
  }

  const Options& options_;
  CpuModel& model_;
  const StopFlag& stop_;
  std::vector<TokenId> tokens_;
  std::unique_ptr<KvCache> start_;
  ForwardOutput start_output_;
  ForwardOutput output_;
};

// One line of the result.
struct Line {
  const Measured* measured;
  Summary prefill;
  Summary decode;
  std::uint64_t bytes_per_token;
  double gigabytes_per_second;
  double bandwidth_share;
  double speedup;  // against full depth, by medians
  double ceiling;
};

std::vector<Line> summarize_all(const std::vector<Measured>& depths, const TokenBytes& bytes,
                                std::uint64_t context, double bandwidth) {
  std::vector<Line> lines;
  const double full = summarize(depths.front().decode).median;
  for (const Measured& depth : depths) {
    const Summary decode = summarize(depth.decode);
    const std::uint64_t per_token = bytes.of(depth.route, context);
    const double rate = static_cast<double>(per_token) * decode.median;
    lines.push_back({.measured = &depth,
                     .prefill = summarize(depth.prefill),
                     .decode = decode,
                     .bytes_per_token = per_token,
                     .gigabytes_per_second = rate / 1e9,
                     .bandwidth_share = rate / bandwidth,
                     .speedup = decode.median / full,
                     .ceiling = speedup_ceiling(bytes, depth.route, context)});
  }
  return lines;
}

std::string spread(const Summary& summary) {
  return fmt::format("{:.1f} ({:.1f}-{:.1f})", summary.median, summary.minimum, summary.maximum);
}

void print(const Options& options, const std::vector<Line>& lines, const ReadBandwidth& bandwidth) {
  fmt::print(
      "{} threads, {} precision, prefill of {}, {} new tokens after a context of {}, "
      "{} repetitions: median (range)\n",
      options.engine.threads, options.engine.precision, options.prompt_tokens, options.new_tokens,
      options.context, options.repeat);
  fmt::print("read bandwidth {:.1f} GB/s (buffer of {:.0f} MB)\n\n",
             bandwidth.bytes_per_second / 1e9, static_cast<double>(bandwidth.buffer_bytes) / 1e6);
  fmt::print("{:<26}{:>7}{:>26}{:>26}{:>8}{:>8}{:>7}{:>10}{:>9}\n", "depth", "layers",
             "prefill tokens/s", "decode tokens/s", "MB", "GB/s", "of max", "speed-up", "ceiling");
  for (const Line& line : lines) {
    fmt::print("{:<26}{:>7}{:>26}{:>26}{:>8.1f}{:>8.1f}{:>6.0f}%{:>9.2f}x{:>8.2f}x\n",
               to_string(line.measured->policy), line.measured->route.cost(), spread(line.prefill),
               spread(line.decode), static_cast<double>(line.bytes_per_token) / 1e6,
               line.gigabytes_per_second, 100 * line.bandwidth_share, line.speedup, line.ceiling);
  }
}

void print_as_json(const Options& options, const std::vector<Line>& lines,
                   const ReadBandwidth& bandwidth) {
  Json depths = Json::array();
  for (const Line& line : lines) {
    depths.push_back({{"depth", to_string(line.measured->policy)},
                      {"route", line.measured->route.to_string()},
                      {"layers", line.measured->route.cost()},
                      {"prefill", {{"tokens_per_s", to_json(line.prefill)}}},
                      {"decode", {{"tokens_per_s", to_json(line.decode)}}},
                      {"bytes_per_token", line.bytes_per_token},
                      {"gb_per_s", line.gigabytes_per_second},
                      {"read_bandwidth_share", line.bandwidth_share},
                      {"speedup", line.speedup},
                      {"ceiling", line.ceiling}});
  }
  print_json({{"threads", options.engine.threads},
              {"precision", options.engine.precision},
              {"kernels", kernels().name},
              {"prompt_tokens", options.prompt_tokens},
              {"new_tokens", options.new_tokens},
              {"context", options.context},
              {"repeat", options.repeat},
              {"read_bandwidth_gb_per_s", bandwidth.bytes_per_second / 1e9},
              {"read_bandwidth_buffer_bytes", bandwidth.buffer_bytes},
              {"depths", std::move(depths)}});
}

int run(const Options& options) {
  std::vector<DepthPolicy> policies = parse_policies(options.depth);
  // Speed-ups are against full depth, so that is always measured, and first.
  std::erase(policies, DepthPolicy{FullDepth{}});
  policies.insert(policies.begin(), FullDepth{});
  RunningModel running(options.model, options.engine);
  const StopFlag& stop = stop_on_interrupt();
  std::vector<Measured> depths;
  for (const DepthPolicy& policy : policies) {
    depths.push_back({.policy = policy,
                      .route = resolve(policy, running.model().config().depth(), 0, 0),
                      .prefill = {},
                      .decode = {}});
  }
  const ReadBandwidth bandwidth = measure_read_bandwidth(running.team());
  Bench bench(options, running.model(), stop);
  {
    std::vector<Measured> warm_up(depths.begin(), depths.begin() + 1);
    bench.repeat(warm_up);
    Progress progress("repetitions", options.repeat);
    for (std::size_t i = 0; i < options.repeat && !stop.load(); ++i) {
      bench.repeat(depths);
      progress.done(i + 1);
    }
  }
  if (stop.load()) return exit_interrupted;
  const std::vector<Line> lines =
      summarize_all(depths, running.model().token_bytes(), options.context + options.new_tokens / 2,
                    bandwidth.bytes_per_second);
  options.json ? print_as_json(options, lines, bandwidth) : print(options, lines, bandwidth);
  return 0;
}

}  // namespace

Command add_bench(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand(
      "bench", "How fast a model runs at each depth, against what the machine allows");
  options->model.add_to(*command);
  command->add_option("--depth", options->depth, "policies, separated by commas; " + depth_help())
      ->capture_default_str();
  const auto positive = CLI::Range(std::size_t{1}, std::size_t{1} << 30);
  command->add_option("--prompt-tokens", options->prompt_tokens, "tokens of a prefill")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--new-tokens", options->new_tokens, "tokens that are decoded")
      ->check(positive)
      ->capture_default_str();
  command
      ->add_option("--context", options->context, "positions in the cache before decoding begins")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--repeat", options->repeat, "repetitions")
      ->check(CLI::Range(std::size_t{1}, std::size_t{10000}))
      ->capture_default_str();
  options->engine.add_to(*command);
  command->add_flag("--json", options->json, "print one JSON object (docs/json.md)");
  add_example(*command, "fathom bench --depth full,uniform:20,first:15");
  return {command, [options] { return run(*options); }};
}

}  // namespace fathom
