#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/stopwatch.h"
#include "cli/bench_profile.h"
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
  RankingOption ranking;
  std::string depth = "full";
  std::size_t prompt_tokens = 512;
  std::size_t new_tokens = 128;
  std::size_t context = 1;
  std::size_t batch = 1;
  bool mixed = false;
  std::size_t repeat = 5;
  bool profile = false;
  bool json = false;
};

// What is measured at one depth: seconds, one value a repetition.
struct Measured {
  DepthPolicy policy;
  RouteSelector selector;
  std::vector<double> prefill = {};
  std::vector<double> step = {};  // of decoding: one token of each sequence
};

// What is measured of a batch in which the policies take turns.
struct Mixed {
  std::vector<std::size_t> depths;  // for each sequence, which it has
  std::vector<double> step = {};
  // Its step's time against the mean of those of its sequences' depths in the same repetition.
  std::vector<double> time_ratio = {};
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
  Bench(const Options& options, CpuModel& model, ThreadTeam& team, const StopFlag& stop)
      : options_(options), model_(model), team_(team), stop_(stop) {
    const std::size_t longest =
        std::max(options.prompt_tokens, options.context + options.new_tokens);
    if (longest > model.config().context) {
      throw InputError(fmt::format("{} tokens were asked for; the model's context is {}", longest,
                                   model.config().context));
    }
    tokens_ = some_tokens(longest + options.batch, model.config());
    // A past of their own for each: the memory of a shared one would be read once for all.
    for (std::size_t s = 0; s < options.batch && !stop.load(); ++s) {
      caches_.push_back(model.new_cache(options.context + options.new_tokens));
      prefill(model, *caches_.back(), std::span(tokens_).subspan(s, options.context),
              default_prefill_chunk, output_, stop);
    }
    samplers_.assign(options.batch, Sampler({}));
  }

  // Every depth once, so that the machine's moods hit all alike.
  void repeat(std::vector<Measured>& depths, std::optional<Mixed>& mixed) {
    for (Measured& depth : depths) {
      depth.prefill.push_back(prefill_seconds());
      depth.step.push_back(
          step_seconds(std::vector<const Selector*>(options_.batch, &depth.selector)));
    }
    if (!mixed) return;
    std::vector<const Selector*> selectors;
    double unmixed = 0;
    for (const std::size_t depth : mixed->depths) {
      selectors.push_back(&depths[depth].selector);
      unmixed += depths[depth].step.back() / static_cast<double>(options_.batch);
    }
    mixed->step.push_back(step_seconds(selectors));
    mixed->time_ratio.push_back(mixed->step.back() / unmixed);
  }

  // Where the time of a prefill goes. Prompts run all layers, whatever the depth.
  ProfiledPasses profile_prefill() {
    ProfiledPasses profiled{.depth = "full", .phase = "prefill", .passes = 1};
    model_.set_profile(&profiled.profile);
    profiled.seconds = prefill_seconds();
    model_.set_profile(nullptr);
    return profiled;
  }

  // Where the time of a step of decoding goes.
  ProfiledPasses profile_decode(const Measured& depth) {
    ProfiledPasses profiled{
        .depth = to_string(depth.policy), .phase = "decode", .passes = options_.new_tokens};
    model_.set_profile(&profiled.profile);
    sampling_profile_ = &profiled.profile;
    const double step = step_seconds(std::vector<const Selector*>(options_.batch, &depth.selector));
    sampling_profile_ = nullptr;
    model_.set_profile(nullptr);
    profiled.seconds = step * static_cast<double>(options_.new_tokens);
    return profiled;
  }

 private:
  double prefill_seconds() {
    const auto cache = model_.new_cache(options_.prompt_tokens);
    const Stopwatch watch;
    prefill(model_, *cache, std::span(tokens_).first(options_.prompt_tokens), default_prefill_chunk,
            output_, stop_);
    return watch.seconds();
  }

  // Greedy decoding as generate_batch() does it, less the text; `selectors` has each sequence's.
  double step_seconds(const std::vector<const Selector*>& selectors) {
    std::vector<TokenId> tokens(tokens_.end() - static_cast<std::ptrdiff_t>(selectors.size()),
                                tokens_.end());
    std::vector<SequenceStep> steps;
    for (std::size_t s = 0; s < selectors.size(); ++s) {
      steps.push_back({.cache = caches_[s].get(),
                       .tokens = std::span(tokens).subspan(s, 1),
                       .role = RowRole::routed,
                       .selector = selectors[s],
                       .logits = LogitRows::last});
    }
    const Stopwatch watch;
    for (std::size_t i = 0; i < options_.new_tokens && !stop_.load(); ++i) {
      model_.forward(steps, output_, nullptr);
      const Stopwatch sampling;
      team_.run_shares(tokens.size(), 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t s = begin; s < end; ++s) {
          tokens[s] = samplers_[s].sample(output_.logit_row(s), {}, {});
        }
      });
      if (sampling_profile_ != nullptr) {
        sampling_profile_->add(Operation::sampling, {}, sampling.seconds());
      }
    }
    const double seconds = watch.seconds();
    for (const auto& cache : caches_) cache->truncate(options_.context);
    return seconds / static_cast<double>(options_.new_tokens);
  }

  const Options& options_;
  CpuModel& model_;
  ThreadTeam& team_;
  const StopFlag& stop_;
  std::vector<TokenId> tokens_;
  std::vector<std::unique_ptr<KvCache>> caches_;  // for each sequence of the batch
  std::vector<Sampler> samplers_;                 // likewise
  ForwardOutput output_;
  Profile* sampling_profile_ = nullptr;
};

// Tokens a second of passes over `tokens` tokens each.
Summary rate(std::size_t tokens, const std::vector<double>& seconds) {
  std::vector<double> rates;
  for (const double each : seconds) rates.push_back(static_cast<double>(tokens) / each);
  return summarize(rates);
}

// One line of the result.
struct Line {
  const Measured* measured;
  Summary prefill;
  Summary decode;       // all sequences together
  Summary decode_each;  // one of them
  std::uint64_t bytes_per_step;
  double gigabytes_per_second;
  double bandwidth_share;
  double speedup;  // against full depth, by medians
  double ceiling;
};

std::vector<Line> summarize_all(const Options& options, const std::vector<Measured>& depths,
                                const TokenBytes& bytes, double bandwidth) {
  // Positions that a step reads of all caches together.
  const std::uint64_t positions = options.batch * (options.context + options.new_tokens / 2);
  std::vector<Line> lines;
  const double full = summarize(depths.front().step).median;
  for (const Measured& depth : depths) {
    const Route& route = depth.selector.route();
    const double step = summarize(depth.step).median;
    const std::uint64_t per_step = bytes.of(route, positions);
    const double bytes_per_second = static_cast<double>(per_step) / step;
    lines.push_back({.measured = &depth,
                     .prefill = rate(options.prompt_tokens, depth.prefill),
                     .decode = rate(options.batch, depth.step),
                     .decode_each = rate(1, depth.step),
                     .bytes_per_step = per_step,
                     .gigabytes_per_second = bytes_per_second / 1e9,
                     .bandwidth_share = bytes_per_second / bandwidth,
                     .speedup = full / step,
                     .ceiling = speedup_ceiling(bytes, route, positions)});
  }
  return lines;
}

struct Results {
  std::vector<Line> lines;
  std::optional<Mixed> mixed;
  ReadBandwidth bandwidth;
  std::vector<ProfiledPasses> profiles;
  std::optional<AdapterName> adapter;
};

std::string spread(const Summary& summary) {
  return fmt::format("{:.1f} ({:.1f}-{:.1f})", summary.median, summary.minimum, summary.maximum);
}

void print(const Options& options, const Results& results) {
  fmt::print(
      "{} threads, {} precision, prefill of {}, {} new tokens after a context of {}, {} at once, "
      "{} repetitions: median (range)\n",
      options.engine.threads, options.engine.precision, options.prompt_tokens, options.new_tokens,
      options.context, options.batch, options.repeat);
  fmt::print("read bandwidth {:.1f} GB/s (buffer of {:.0f} MB)\n\n",
             results.bandwidth.bytes_per_second / 1e9,
             static_cast<double>(results.bandwidth.buffer_bytes) / 1e6);
  fmt::print("{:<26}{:>7}{:>26}{:>26}{:>8}{:>8}{:>8}{:>7}{:>10}{:>9}\n", "depth", "layers",
             "prefill tokens/s", "decode tokens/s", "each", "MB", "GB/s", "of max", "speed-up",
             "ceiling");
  for (const Line& line : results.lines) {
    fmt::print("{:<26}{:>7}{:>26}{:>26}{:>8.1f}{:>8.1f}{:>8.1f}{:>6.0f}%{:>9.2f}x{:>8.2f}x\n",
               to_string(line.measured->policy), line.measured->selector.route().cost(),
               spread(line.prefill), spread(line.decode), line.decode_each.median,
               static_cast<double>(line.bytes_per_step) / 1e6, line.gigabytes_per_second,
               100 * line.bandwidth_share, line.speedup, line.ceiling);
  }
  if (results.mixed) {
    const Summary ratio = summarize(results.mixed->time_ratio);
    fmt::print("{:<59}{:>26}{:>8.1f}\n\n", "mixed",
               spread(rate(options.batch, results.mixed->step)),
               rate(1, results.mixed->step).median);
    fmt::print(
        "a mixed step takes {:.3f} ({:.3f}-{:.3f}) times the mean of its sequences' unmixed ones\n",
        ratio.median, ratio.minimum, ratio.maximum);
  }
  for (const ProfiledPasses& profiled : results.profiles) print_profile(profiled);
}

Json decode_json(const Summary& all, const Summary& each) {
  return {{"tokens_per_s", to_json(all)}, {"tokens_per_s_each", to_json(each)}};
}

void print_as_json(const Options& options, const Results& results) {
  Json depths = Json::array();
  for (const Line& line : results.lines) {
    depths.push_back({{"depth", to_string(line.measured->policy)},
                      {"route", line.measured->selector.route().to_string()},
                      {"layers", line.measured->selector.route().cost()},
                      {"prefill", {{"tokens_per_s", to_json(line.prefill)}}},
                      {"decode", decode_json(line.decode, line.decode_each)},
                      {"bytes_per_token", line.bytes_per_step / options.batch},
                      {"bytes_per_step", line.bytes_per_step},
                      {"gb_per_s", line.gigabytes_per_second},
                      {"read_bandwidth_share", line.bandwidth_share},
                      {"speedup", line.speedup},
                      {"ceiling", line.ceiling}});
  }
  Json json{{"threads", options.engine.threads},
            {"precision", options.engine.precision},
            {"kernels", kernels().name},
            {"prompt_tokens", options.prompt_tokens},
            {"new_tokens", options.new_tokens},
            {"context", options.context},
            {"batch", options.batch},
            {"repeat", options.repeat},
            {"read_bandwidth_gb_per_s", results.bandwidth.bytes_per_second / 1e9},
            {"read_bandwidth_buffer_bytes", results.bandwidth.buffer_bytes},
            {"depths", std::move(depths)}};
  if (!options.model.quantize.empty()) json["quantize"] = options.model.quantize;
  if (results.adapter) json["adapter"] = to_json(*results.adapter);
  if (results.mixed) {
    Json sequences = Json::array();
    for (const std::size_t depth : results.mixed->depths) {
      sequences.push_back(to_string(results.lines[depth].measured->policy));
    }
    const std::vector<double>& step = results.mixed->step;
    json["mixed"] = {{"sequences", std::move(sequences)},
                     {"decode", decode_json(rate(options.batch, step), rate(1, step))},
                     {"step_time_ratio", to_json(summarize(results.mixed->time_ratio))}};
  }
  if (!results.profiles.empty()) {
    Json profiles = Json::array();
    for (const ProfiledPasses& profiled : results.profiles) {
      profiles.push_back(profile_json(profiled));
    }
    json["profiles"] = std::move(profiles);
  }
  print_json(json);
}

// A batch whose sequences take the policies in turn, if it is asked for. `depths` are all that are
// measured.
std::optional<Mixed> make_mixed(const Options& options, const std::vector<DepthPolicy>& policies,
                                const std::vector<DepthPolicy>& measured) {
  if (!options.mixed) return std::nullopt;
  if (options.batch < policies.size()) {
    throw InputError(fmt::format("--mixed: {} sequences (--batch) cannot have {} policies",
                                 options.batch, policies.size()));
  }
  Mixed mixed;
  for (std::size_t s = 0; s < options.batch; ++s) {
    const auto depth = std::find(measured.begin(), measured.end(), policies[s % policies.size()]);
    mixed.depths.push_back(static_cast<std::size_t>(depth - measured.begin()));
  }
  return mixed;
}

int run(const Options& options) {
  const std::vector<DepthPolicy> asked = parse_policies(options.depth);
  // Speed-ups are against full depth, so that is always measured, and first.
  std::vector<DepthPolicy> policies = asked;
  std::erase(policies, DepthPolicy{FullDepth{}});
  policies.insert(policies.begin(), FullDepth{});
  Results results{.lines = {},
                  .mixed = make_mixed(options, asked, policies),
                  .bandwidth = {},
                  .profiles = {},
                  .adapter = {}};
  RunningModel running(options.model, options.engine);
  results.adapter = running.adapter();
  const StopFlag& stop = stop_on_interrupt();
  std::vector<Measured> depths;
  const std::optional<Ranking> ranking = options.ranking.find(running.model().files(), policies);
  for (const DepthPolicy& policy : policies) {
    depths.push_back({.policy = policy,
                      .selector = RouteSelector(
                          resolve(policy, running.model().config().depth(), 0, 0, ranking))});
  }
  results.bandwidth = measure_read_bandwidth(running.team());
  Bench bench(options, running.model(), running.team(), stop);
  {
    std::vector<Measured> warm_up(depths.begin(), depths.begin() + 1);
    std::optional<Mixed> no_mixed;
    bench.repeat(warm_up, no_mixed);
    Progress progress("repetitions", options.repeat);
    for (std::size_t i = 0; i < options.repeat && !stop.load(); ++i) {
      bench.repeat(depths, results.mixed);
      progress.done(i + 1);
    }
  }
  if (options.profile && !stop.load()) {
    results.profiles.push_back(bench.profile_prefill());
    for (const Measured& depth : depths) results.profiles.push_back(bench.profile_decode(depth));
  }
  if (stop.load()) return exit_interrupted;
  results.lines = summarize_all(options, depths, running.model().token_bytes(),
                                results.bandwidth.bytes_per_second);
  options.json ? print_as_json(options, results) : print(options, results);
  return 0;
}

}  // namespace

Command add_bench(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand(
      "bench", "How fast a model runs at each depth, against what the machine allows");
  options->model.add_to(*command);
  options->ranking.add_to(*command);
  command
      ->add_option("--depth", options->depth,
                   "policies, separated by commas; " + fixed_depth_help())
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
  command
      ->add_option("--batch", options->batch,
                   "sequences that are decoded at once, one token each a step")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1024}))
      ->capture_default_str();
  command->add_flag("--mixed", options->mixed,
                    "also measure a batch whose sequences have the policies of --depth in turn");
  command->add_flag("--profile", options->profile,
                    "also say where the time of a prefill and of each depth's steps goes");
  command->add_option("--repeat", options->repeat, "repetitions")
      ->check(CLI::Range(std::size_t{1}, std::size_t{10000}))
      ->capture_default_str();
  options->engine.add_to(*command);
  options->model.add_quantize_to(*command);
  options->model.add_adapter_to(*command);
  command->add_flag("--json", options->json, "print one JSON object (docs/json.md)");
  add_example(*command, "fathom bench --depth full,uniform:20,first:15");
  return {command, [options] { return run(*options); }};
}

}  // namespace fathom
