// ROUGE of pairs of texts: pairs/s of one thread.

#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "metrics/rouge.h"

namespace fathom {
namespace {

struct Pair {
  std::string prediction;
  std::string reference;
};

// Texts of `words` words out of 500; a third of the prediction's are the reference's.
std::vector<Pair> draw_pairs(std::size_t words) {
  constexpr std::size_t count = 256;
  RandomStream stream({.seed = 1});
  std::vector<std::string> vocabulary(500);
  for (std::string& word : vocabulary) {
    const std::size_t letters = 1 + stream.below(9);
    for (std::size_t i = 0; i < letters; ++i) word += static_cast<char>('a' + stream.below(26));
  }
  std::vector<Pair> pairs(count);
  for (Pair& pair : pairs) {
    for (std::size_t w = 0; w < words; ++w) {
      const std::string& word = vocabulary[stream.below(vocabulary.size())];
      const char* const end = stream.below(15) == 0 ? ".\n" : " ";
      pair.reference += word + end;
      pair.prediction +=
          (stream.below(3) == 0 ? word : vocabulary[stream.below(vocabulary.size())]) + end;
    }
  }
  return pairs;
}

void rouge_pairs(benchmark::State& state, Stemming stemming) {
  const std::vector<Pair> pairs = draw_pairs(static_cast<std::size_t>(state.range(0)));
  std::size_t i = 0;
  for (auto _ : state) {
    const Pair& pair = pairs[i++ % pairs.size()];
    benchmark::DoNotOptimize(rouge(pair.prediction, pair.reference, stemming));
  }
  state.SetItemsProcessed(state.iterations());
}

// Alpaca's labels have 45 words on average.
BENCHMARK_CAPTURE(rouge_pairs, plain, Stemming::none)->Arg(45)->Arg(300);
BENCHMARK_CAPTURE(rouge_pairs, stemmed, Stemming::porter)->Arg(45)->Arg(300);

}  // namespace
}  // namespace fathom
