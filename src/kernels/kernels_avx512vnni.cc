#include "kernels/kernels.h"

#if defined(__x86_64__)

#include "kernels/avx512.h"
#include "kernels/kernels_impl.h"

namespace fathom {
namespace {

constexpr Kernels table = KernelsFor<Avx512>::table("avx512vnni");

}  // namespace

const Kernels* kernels_avx512vnni() { return &table; }

}  // namespace fathom

#else

namespace fathom {
const Kernels* kernels_avx512vnni() { return nullptr; }
}  // namespace fathom

#endif
