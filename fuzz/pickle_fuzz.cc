// The pickle of a PyTorch checkpoint: by itself, and in an archive with the storages that it names,
// so that what it says of them counts.

#include <map>
#include <string>
#include <vector>

#include "formats/dequantize.h"
#include "formats/pickle.h"
#include "formats/torch_checkpoint.h"
#include "formats/zip_test_writer.h"
#include "fuzz/target.h"

namespace fathom {
namespace {

constexpr std::size_t largest_storage = 4096;

using Storages = std::map<std::string, std::size_t, std::less<>>;  // bytes by key

void collect(const Pickle& pickle, const PickleValue& value, Storages& storages) {
  if (const auto* const tensor = std::get_if<const PickledTensor*>(&value)) {
    const PickledStorage& storage = (*tensor)->storage;
    require_promise((*tensor)->shape.size() == (*tensor)->strides.size(), "dimensions differ");
    const std::size_t element_bytes = info(storage.type).element_bytes;
    if (storage.elements > largest_storage / element_bytes || storage.key.size() > 100) return;
    storages.emplace(storage.key, storage.elements * element_bytes);
  } else if (const auto* const tuple = std::get_if<PickleTuple>(&value)) {
    (void)pickle.elements(*tuple);
  }
}

/// Of the tensors in the dict and in the dicts in it.
Storages storages_of(const Pickle& pickle) {
  Storages storages;
  const auto* const root = std::get_if<PickleDict>(&pickle.root());
  if (root == nullptr) return storages;
  std::size_t dicts = 0;
  for (const PickleItem& item : pickle.items(*root)) {
    collect(pickle, item.value, storages);
    const auto* const inner = std::get_if<PickleDict>(&item.value);
    if (inner == nullptr || ++dicts > 10) continue;
    for (const PickleItem& each : pickle.items(*inner)) collect(pickle, each.value, storages);
  }
  return storages;
}

std::string archive_of(std::span<const std::byte> pickle, const Storages& storages) {
  ZipTestWriter writer;
  writer.entries.push_back({.name = "x/data.pkl",
                            .data = {reinterpret_cast<const char*>(pickle.data()), pickle.size()}});
  writer.entries.push_back({.name = "x/version", .data = "3\n"});
  for (const auto& [key, bytes] : storages) {
    writer.entries.push_back({.name = "x/data/" + key, .data = std::string(bytes, '\0')});
  }
  return writer.bytes();
}

}  // namespace

Refusals run_target(std::span<const std::byte> input) {
  const std::string origin = "pytorch_model.bin";
  Refusals refusals;
  run_refusable(refusals, origin, [&] {
    const Storages storages = storages_of(Pickle::load(origin, "data.pkl", input));
    const std::string file = archive_of(input, storages);
    const TensorSource source = parse_torch_checkpoint(origin, std::as_bytes(std::span(file)));
    std::vector<float> elements;
    for (const auto& [name, tensor] : source.tensors()) {
      elements.resize(tensor.elements());
      dequantize(tensor.type, tensor.bytes, elements);
    }
  });
  return refusals;
}

}  // namespace fathom
