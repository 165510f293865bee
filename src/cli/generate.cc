#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <poll.h>
#include <string>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/random.h"
#include "base/stopwatch.h"
#include "cli/command.h"
#include "cli/generate_batch.h"
#include "cli/generate_options.h"
#include "cli/generation_json.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/model_options.h"
#include "data/prompt_maker.h"
#include "depth/policy.h"
#include "generate/generator.h"

namespace fathom {
namespace {

constexpr std::size_t longest_prompt_file = std::size_t{256} << 20;

struct Options : GenerateCommandOptions {
  std::optional<std::string> prompt;
  std::optional<std::string> prompt_file;
  bool interactive = false;
  std::optional<std::string> id;
  std::optional<std::string> batch_file;
  std::optional<std::string> out;
  std::optional<std::size_t> batch;
  bool json = false;
};

double rate(std::size_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

// Bytes that the routed passes of a generation read; not known where each token chooses its layers.
// Passes of one route see growing contexts; with equal layers the mean context gives the same sum.
std::optional<double> decode_bytes(const CpuModel& model, const Selector& selector,
                                   const Generation& result, std::size_t context_before) {
  const Route* const route = selector.fixed_route();
  if (route == nullptr) return std::nullopt;
  const auto mean_context =
      static_cast<std::uint64_t>(context_before) + (result.routed_passes + 1) / 2;
  return static_cast<double>(model.token_bytes().of(*route, mean_context)) *
         static_cast<double>(result.routed_passes);
}

struct Report {
  const Generation& result;
  const Selector& selector;
  std::int32_t depth;  // of the model
  std::optional<double> decode_bytes;
  double first_token_seconds;  // from the start of the process, or from a chat's question

  [[nodiscard]] double prompt_rate() const {
    return rate(result.prefilled, result.prefill_seconds);
  }
  [[nodiscard]] double decode_rate() const {
    return rate(result.routed_passes, result.decode_seconds);
  }
  [[nodiscard]] std::optional<double> gigabytes_per_second() const {
    if (!decode_bytes) return std::nullopt;
    return result.decode_seconds > 0 ? *decode_bytes / result.decode_seconds / 1e9 : 0;
  }
};

void print_statistics(const Report& report) {
  const Generation& result = report.result;
  fmt::print(stderr, "prompt {:>6} tokens {:>8.1f} tokens/s\n", result.prefilled,
             report.prompt_rate());
  fmt::print(stderr, "decode {:>6} tokens {:>8.1f} tokens/s", result.routed_passes,
             report.decode_rate());
  if (const auto rate = report.gigabytes_per_second()) fmt::print(stderr, " {:>7.1f} GB/s", *rate);
  if (const auto layers = result.mean_layers()) {
    fmt::print(stderr, "   mean layers {:.1f} of {}", *layers, report.depth);
  }
  fmt::print(stderr, "\nfirst token after {:.2f} s, end: {}\n", report.first_token_seconds,
             name(result.reason));
}

Json result_json(const Options& options, const Report& report, std::span<const TokenId> prompt,
                 const std::optional<AdapterName>& adapter) {
  const Generation& result = report.result;
  const DepthPolicy policy = parse_policy(options.depth);
  Json json = to_json(policy, report.selector, prompt, result);
  if (controller_file(policy) != nullptr) {
    json["gates"] = to_string(parse_gate_rule(options.gates.gates));
  }
  if (adapter) json["adapter"] = to_json(*adapter);
  json["timing"] = {
      {"time_to_first_token_s", report.first_token_seconds}, {"prefill_s", result.prefill_seconds},
      {"prefill_tokens_per_s", report.prompt_rate()},        {"decode_s", result.decode_seconds},
      {"decode_tokens_per_s", report.decode_rate()},         {"decode_gb_per_s", nullptr}};
  if (const auto rate = report.gigabytes_per_second()) json["timing"]["decode_gb_per_s"] = *rate;
  if (options.generate.logprobs > 0) json["logprobs"] = logprobs_json(result);
  return json;
}

void print_logprobs(const Generation& result, const Tokenizer& tokenizer) {
  const auto text = [&](TokenId token) {
    return token.index() < tokenizer.vocabulary_size()
               ? json_text(Json(std::string(tokenizer.bytes(token))))
               : std::string("(padding)");
  };
  for (const GeneratedToken& token : result.tokens) {
    fmt::print(stderr, "{:>10.4f} {}", token.logprob.value_or(0), text(token.token));
    for (const TokenLogprob& each : token.alternatives) {
      fmt::print(stderr, "   {:.4f} {}", each.logprob, text(each.token));
    }
    fmt::print(stderr, "\n");
  }
}

void stream(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

/// One model answering, a turn after the other.
class Answerer {
 public:
  explicit Answerer(const Options& options)
      : options_(options),
        policy_(parse_policy(options.depth)),
        running_(options.model, options.engine),
        ranking_(options.ranking.find(running_.model().files(), std::span(&policy_, 1))),
        controllers_(options.gates.find(running_.model().config(), std::span(&policy_, 1))),
        prompts_(running_.model().files(), options.format()),
        stop_(stop_on_interrupt()) {
    // A depth that does not fit the model is told before anything is computed.
    (void)selector(0);
  }

  [[nodiscard]] const PromptMaker& prompts() const { return prompts_; }
  [[nodiscard]] bool interrupted() const { return stop_.load(); }

  // Answers `prompt`, of which the cache may hold a beginning from the turn before. The person has
  // waited since `asked`. Returns the answer's text.
  std::string answer(std::span<const TokenId> prompt, std::uint64_t turn, const Stopwatch& asked) {
    CpuModel& model = running_.model();
    check_prompt_length(prompt, model.config());
    if (cache_ == nullptr) {
      const std::size_t wanted = prompt.size() + options_.generate.max_new_tokens;
      cache_ = model.new_cache(options_.interactive ? model.config().context
                                                    : std::min(wanted, model.config().context));
    }
    keep_common_past(prompt);
    GenerateOptions generate_options = options_.generate;
    generate_options.end_tokens = model.files().end_tokens;
    generate_options.sequence = sequence(turn);
    const std::unique_ptr<const Selector> chosen = selector(turn);
    const bool quiet = options_.json;
    const Generation result = generate(model, *cache_, model.files().tokenizer, prompt, *chosen,
                                       generate_options, stop_, [&](std::string_view text) {
                                         if (!quiet) stream(text);
                                       });
    const double first_token = asked.seconds() - result.decode_seconds;
    // Tokens that ran all layers are full depth for the next turn, unless they had an adapter that
    // prompts do without.
    if (chosen->fixed_route() == nullptr && model.sets_full_depth_apart()) {
      cache_->truncate(prompt.size());
    }
    past_.assign(prompt.begin(), prompt.end());
    for (const GeneratedToken& token : result.tokens) past_.push_back(token.token);
    const Report report{.result = result,
                        .selector = *chosen,
                        .depth = model.config().depth(),
                        .decode_bytes = decode_bytes(model, *chosen, result, prompt.size()),
                        .first_token_seconds = first_token};
    if (options_.json) {
      print_json(result_json(options_, report, prompt, running_.adapter()));
    } else {
      stream("\n");
      if (options_.generate.logprobs > 0) print_logprobs(result, model.files().tokenizer);
      print_statistics(report);
    }
    return result.text;
  }

 private:
  [[nodiscard]] std::unique_ptr<const Selector> selector(std::uint64_t turn) const {
    return make_selector(policy_, running_.model().config().depth(), options_.generate.seed,
                         sequence(turn), ranking_, controllers_);
  }
  [[nodiscard]] std::uint64_t sequence(std::uint64_t turn) const {
    return options_.id ? sequence_key(*options_.id) : turn;
  }

  // Cuts the cache back to what it shares with `prompt` and ran every layer: a routed answer is
  // prefilled again at full depth. At least one token is left to run.
  void keep_common_past(std::span<const TokenId> prompt) {
    std::size_t keep = cache_->full_depth_length();
    const auto differs = std::mismatch(past_.begin(), past_.end(), prompt.begin(), prompt.end());
    keep = std::min(keep, static_cast<std::size_t>(differs.first - past_.begin()));
    keep = std::min(keep, prompt.size() - 1);
    cache_->truncate(keep);
  }

  const Options& options_;
  DepthPolicy policy_;
  mutable RunningModel running_;
  std::optional<Ranking> ranking_;
  LoadedControllers controllers_;
  PromptMaker prompts_;
  const StopFlag& stop_;
  std::unique_ptr<KvCache> cache_;
  std::vector<TokenId> past_;  // the tokens in the cache, and the last one sampled
};

// Until the person has typed a line or pressed Ctrl-C. A read by itself would sleep through a
// Ctrl-C that comes just before it.
void wait_for_line(const Answerer& answerer) {
  constexpr int milliseconds = 50;
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  while (!answerer.interrupted() && ::poll(&input, 1, milliseconds) <= 0) {
  }
}

int chat(const Options& options) {
  Answerer answerer(options);
  std::vector<ChatMessage> messages = options.opening();
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  std::string line;
  for (std::uint64_t turn = 0;; ++turn) {
    if (terminal) {
      fmt::print(stderr, "> ");
      wait_for_line(answerer);
      if (answerer.interrupted()) break;
    }
    if (!std::getline(std::cin, line)) break;
    if (line.empty()) continue;
    const Stopwatch asked;
    messages.push_back({ChatRole::user, line});
    std::string text = answerer.answer(answerer.prompts().chat(messages), turn, asked);
    messages.push_back({ChatRole::assistant, std::move(text)});
    if (answerer.interrupted()) break;
  }
  return answerer.interrupted() ? exit_interrupted : 0;
}

int answer_once(const Options& options, const Stopwatch& start) {
  const std::string prompt =
      options.prompt ? *options.prompt : read_text_file(*options.prompt_file, longest_prompt_file);
  Answerer answerer(options);
  answerer.answer(options.prompt_tokens(answerer.prompts(), prompt), 0, start);
  return answerer.interrupted() ? exit_interrupted : 0;
}

int run(const Options& options, const Stopwatch& start) {
  options.check();
  const int inputs = (options.prompt ? 1 : 0) + (options.prompt_file ? 1 : 0) +
                     (options.interactive ? 1 : 0) + (options.batch_file ? 1 : 0);
  if (inputs != 1) throw InputError("give one of --prompt, --prompt-file, --batch-file and -i");
  if (options.interactive && (options.raw || options.json)) {
    throw InputError("-i is a chat at the terminal: it goes without --raw and --json");
  }
  if (options.id && (options.interactive || options.batch_file)) {
    throw InputError("--id is of a single prompt: it goes with --prompt or --prompt-file");
  }
  if (!options.batch_file && (options.out || options.batch)) {
    throw InputError("--out and --batch go with --batch-file");
  }
  if (options.batch_file) {
    if (options.json) throw InputError("--batch-file writes JSON as it is: it goes without --json");
    if (!options.out) throw InputError("--batch-file needs --out FILE");
    return run_generate_batch(options, *options.batch_file, *options.out,
                              options.batch.value_or(default_batch));
  }
  const SamplingOptions& sampling = options.generate.sampling;
  if (sampling.temperature == 0 && (sampling.top_k || sampling.top_p || sampling.min_p)) {
    fmt::print(stderr,
               "fathom: at --temperature 0 the likeliest token is taken, whatever --top-k, "
               "--top-p and --min-p say\n");
  }
  return options.interactive ? chat(options) : answer_once(options, start);
}

}  // namespace

Command add_generate(CLI::App& program) {
  const Stopwatch start;
  auto options = std::make_shared<Options>();
  CLI::App* const command =
      program.add_subcommand("generate", "Answer prompts, or chat, at a chosen depth");
  command->add_option("--prompt", options->prompt, "the prompt");
  command->add_option("--prompt-file", options->prompt_file, "a file that holds the prompt");
  command->add_flag("-i,--interactive", options->interactive, "chat at the terminal");
  command->add_option("--batch-file", options->batch_file,
                      "JSON Lines of prompts: rows {prompt, id, depth, max_new_tokens, seed, "
                      "temperature}, of which what is absent is as the options say");
  command->add_option("--out", options->out,
                      "where the answers to --batch-file go, as JSON Lines (docs/json.md); a run "
                      "that was stopped goes on there");
  command
      ->add_option(
          "--batch", options->batch,
          fmt::format("answer up to N rows of --batch-file at once; default: {}", default_batch))
      ->check(CLI::Range(std::size_t{1}, std::size_t{1024}));
  command->add_option("--id", options->id,
                      "keys a prompt's random draws, as its id does in --batch-file");
  options->add_to(*command);
  command->add_flag("--json", options->json, "print one JSON object (docs/json.md)");
  add_example(*command, "fathom generate --prompt 'Why is the sky blue?' --depth ranked:28");
  return {command, [options, start] { return run(*options, start); }};
}

}  // namespace fathom
