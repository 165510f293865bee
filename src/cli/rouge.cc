#include "metrics/rouge.h"

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "data/json_lines.h"
#include "formats/json_file.h"

namespace fathom {
namespace {

struct Options {
  std::string pairs;
  bool stemmer = false;
  bool json = false;
};

Json to_json(const RougeScore& score) {
  return {{"precision", score.precision}, {"recall", score.recall}, {"f1", score.f1}};
}

Json to_json(const RougeScores& scores) {
  return {{"rouge1", to_json(scores.rouge1)},
          {"rouge2", to_json(scores.rouge2)},
          {"rougeL", to_json(scores.rouge_l)},
          {"rougeLsum", to_json(scores.rouge_lsum)}};
}

// Sums over all pairs.
struct Total {
  RougeScore sum;

  void add(const RougeScore& score) {
    sum.precision += score.precision;
    sum.recall += score.recall;
    sum.f1 += score.f1;
  }
  void print(std::string_view name, std::size_t pairs) const {
    const auto n = static_cast<double>(pairs);
    fmt::print("{:<12}{:>10.4f}{:>10.4f}{:>10.4f}\n", name, sum.precision / n, sum.recall / n,
               sum.f1 / n);
  }
};

int run(const Options& options) {
  if (options.pairs.empty()) throw InputError("rouge needs --pairs FILE");
  const Stemming stemming = options.stemmer ? Stemming::porter : Stemming::none;
  JsonLineReader reader(options.pairs);
  // Printed at the end: a file that is refused prints no scores.
  std::string lines;
  Total rouge1;
  Total rouge2;
  Total rouge_l;
  Total rouge_lsum;
  std::size_t pairs = 0;
  while (const std::optional<JsonLine> line = reader.next()) {
    const JsonFields fields(line->place, line->value);
    const RougeScores scores =
        rouge(fields.require_string("prediction"), fields.require_string("reference"), stemming);
    ++pairs;
    if (options.json) {
      lines += json_text(to_json(scores)) + "\n";
      continue;
    }
    rouge1.add(scores.rouge1);
    rouge2.add(scores.rouge2);
    rouge_l.add(scores.rouge_l);
    rouge_lsum.add(scores.rouge_lsum);
  }
  if (pairs == 0) throw FileError(options.pairs, "", "no pairs of prediction and reference");
  if (options.json) {
    std::fwrite(lines.data(), 1, lines.size(), stdout);
    return 0;
  }
  fmt::print("{:<12}{:>10}{:>10}{:>10}\n", "", "precision", "recall", "F1");
  rouge1.print("ROUGE-1", pairs);
  rouge2.print("ROUGE-2", pairs);
  rouge_l.print("ROUGE-L", pairs);
  rouge_lsum.print("ROUGE-Lsum", pairs);
  fmt::print("means of {} pairs\n", pairs);
  return 0;
}

}  // namespace

Command add_rouge(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand(
      "rouge", "How much predictions have in common with references: ROUGE-1, 2, L and Lsum");
  command->add_option("--pairs", options->pairs,
                      "JSON Lines: rows {\"prediction\", \"reference\"}");
  command->add_flag("--stemmer", options->stemmer, "compare stems of words (Porter's)");
  command->add_flag("--json", options->json, "print one JSON object a pair (docs/json.md)");
  add_example(*command, "fathom rouge --pairs pairs.jsonl --stemmer");
  return {command, [options] { return run(*options); }};
}

}  // namespace fathom
