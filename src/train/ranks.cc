#include "train/ranks.h"

#include <cstdlib>

#include "train/tensor_exchange.h"

namespace fathom {
namespace {

class OneRank final : public Ranks, public TensorExchange {
 public:
  [[nodiscard]] std::size_t size() const override { return 1; }
  [[nodiscard]] std::size_t rank() const override { return 0; }
  [[nodiscard]] std::size_t local_rank() const override { return 0; }

  void sum(std::span<double> /*values*/) override {}
  [[nodiscard]] std::string broadcast(const std::string& text) override { return text; }
  [[nodiscard]] TensorExchange& tensors() override { return *this; }
  [[noreturn]] void abort(int exit_code) override { std::exit(exit_code); }

  void begin_sum(const at::Tensor& /*tensor*/) override {}
  void finish_sums() override {}
  void broadcast(const at::Tensor& /*tensor*/) override {}
};

}  // namespace

bool Ranks::any(bool here) { return sum(here ? 1.0 : 0.0) > 0; }

double Ranks::sum(double value) {
  sum(std::span(&value, 1));
  return value;
}

std::unique_ptr<Ranks> one_rank() { return std::make_unique<OneRank>(); }

}  // namespace fathom
