#include "kernels/kernels.h"

#include <cstdlib>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"

namespace fathom {
namespace {

bool runs_avx2() {
#if defined(__x86_64__)
  // Every processor with AVX2 has F16C, which Clang 14 cannot ask for.
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

bool runs_avx512vnni() {
#if defined(__x86_64__)
  return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

// Linux gives a process the tiles' registers when it asks for them.
bool runs_amx() {
#if defined(__x86_64__) && defined(__linux__)
  if (!runs_avx512vnni()) return false;
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  constexpr unsigned amx_tile = 1U << 24;
  constexpr unsigned amx_int8 = 1U << 25;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & amx_tile) == 0 || (edx & amx_int8) == 0) return false;
  constexpr long request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

bool runs_neon() {
#if defined(__aarch64__) && defined(__linux__)
  return (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return false;
#endif
}

const Kernels& choose_kernels() {
  const std::vector<const Kernels*> available = available_kernels();
  const char* const wanted = std::getenv("FATHOM_KERNELS");
  if (wanted == nullptr || *wanted == '\0') return *available.front();
  std::vector<std::string_view> names;
  for (const Kernels* const each : available) {
    if (each->name == wanted) return *each;
    names.push_back(each->name);
  }
  throw InputError(
      fmt::format("FATHOM_KERNELS={}: this machine runs {}", wanted, fmt::join(names, ", ")));
}

}  // namespace

std::string_view name(PackedForm form) {
  switch (form) {
    case PackedForm::int4:
      return "int4";
    case PackedForm::int4_min:
      return "int4 with minimum";
    case PackedForm::int5:
      return "int5";
    case PackedForm::int5_min:
      return "int5 with minimum";
    case PackedForm::int6:
      return "int6";
    case PackedForm::int8:
      return "int8";
    case PackedForm::half:
      return "float16";
    case PackedForm::bfloat16:
      return "bfloat16";
    case PackedForm::float32:
      return "float32";
  }
  return "";
}

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> available;
  if (kernels_amx() != nullptr && runs_amx()) available.push_back(kernels_amx());
  if (kernels_avx512vnni() != nullptr && runs_avx512vnni()) {
    available.push_back(kernels_avx512vnni());
  }
  if (kernels_avx2() != nullptr && runs_avx2()) available.push_back(kernels_avx2());
  if (kernels_neon() != nullptr && runs_neon()) available.push_back(kernels_neon());
  available.push_back(kernels_portable());
  return available;
}

const Kernels& kernels() {
  static const Kernels& chosen = choose_kernels();
  return chosen;
}

}  // namespace fathom
