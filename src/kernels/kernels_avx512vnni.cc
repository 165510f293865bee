#include "kernels/kernels.h"

#if defined(__x86_64__)

#include "kernels/attention_fixed16.h"
#include "kernels/avx512.h"
#include "kernels/kernels_impl.h"

namespace fathom {
namespace {

constexpr Kernels make_table() {
  Kernels table = KernelsFor<Avx512>::table("avx512vnni");
  FixedAttention<FixedVectors>::enter(table);
  return table;
}

constexpr Kernels table = make_table();

}  // namespace

const Kernels* kernels_avx512vnni() { return &table; }

}  // namespace fathom

#else

namespace fathom {
const Kernels* kernels_avx512vnni() { return nullptr; }
}  // namespace fathom

#endif
