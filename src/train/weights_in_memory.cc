#include "train/weights_in_memory.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace fathom {
namespace {

// A mapped file without a name: pages of such a one that are given back keep what they held, those
// of other memory would not.
class AnonymousFile {
 public:
  explicit AnonymousFile(std::size_t size) : size_(size) {
    const int file = ::memfd_create("weights", MFD_CLOEXEC);
    if (file < 0) fail();
    if (::ftruncate(file, static_cast<off_t>(size)) == 0) {
      memory_ = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    const int error = errno;
    ::close(file);
    errno = error;
    if (memory_ == MAP_FAILED) fail();
  }
  ~AnonymousFile() { ::munmap(memory_, size_); }
  AnonymousFile(const AnonymousFile&) = delete;
  AnonymousFile& operator=(const AnonymousFile&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(memory_), size_};
  }

 private:
  [[noreturn]] static void fail() {
    throw std::system_error(errno, std::generic_category(), "memory for weights");
  }
  void* memory_ = MAP_FAILED;
  std::size_t size_;
};

constexpr std::size_t alignment = 64;

std::size_t aligned(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

}  // namespace

TensorSource weights_in_memory(const std::map<std::string, at::Tensor>& tensors) {
  std::size_t size = alignment;
  for (const auto& [name, tensor] : tensors) {
    size += aligned(static_cast<std::size_t>(tensor.numel()) * sizeof(float));
  }
  const auto file = std::make_shared<const AnonymousFile>(size);
  TensorSource source("weights in training");
  source.keep_alive(file);
  std::size_t begin = 0;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor host = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
    const auto bytes = file->bytes().subspan(begin, host.nbytes());
    std::memcpy(bytes.data(), host.data_ptr<float>(), bytes.size());
    source.add({.name = name,
                .type = TensorType::F32,
                .shape = std::vector<std::size_t>(host.sizes().begin(), host.sizes().end()),
                .bytes = bytes});
    begin += aligned(bytes.size());
  }
  return source;
}

}  // namespace fathom
