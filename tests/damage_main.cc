// Opens and runs damaged variants of a model, in this process so that a sanitizer sees it all.
// Every variant must be refused by an InputError that names the file, in one printable line, or
// load and run.
//
//   damage MODEL COUNT [FIRST]     variants FIRST..FIRST+COUNT-1; FIRST is 0 by default
//
// MODEL `default` is $FATHOM_MODEL or the default model in the user's cache folder.
//
// Prints one line a variant, before it is opened (so that the last line names the one that crashed)
// and after; then statistics. Exits with 1 if a variant did anything else. A variant is made from
// its number alone: `damage MODEL 1 N` makes variant N again.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <random>
#include <string>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/thread_team.h"
#include "engine/cpu_model.h"
#include "kernels/kernels.h"
#include "model/default_model.h"
#include "model/model_files.h"

#if defined(__SANITIZE_ADDRESS__)
// A size from a damaged file must not become an allocation; none that is right is this large.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "max_allocation_size_mb=1024:allocator_may_return_null=0";
}
#endif

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr double longest_seconds = 20;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr rlim_t most_memory = rlim_t{2} << 30;  // of addresses; the model's file is mapped once
#endif

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  // A number below `bound`, which is at least 1.
  std::size_t below(std::size_t bound) { return engine_() % bound; }
  bool chance(std::size_t in) { return below(in) == 0; }

 private:
  std::mt19937_64 engine_;  // the same draws with every standard library
};

// A file to be damaged, and put back: a copy of which only the first `kept` bytes are ever changed.
class Victim {
 public:
  Victim(fs::path path, std::size_t kept) : path_(std::move(path)), size_(fs::file_size(path_)) {
    std::ifstream in(path_, std::ios::binary);
    original_.resize(std::min(kept, size_));
    in.read(original_.data(), static_cast<std::streamsize>(original_.size()));
    if (!in) throw InputError(fmt::format("{}: cannot read", path_.string()));
  }

  [[nodiscard]] const fs::path& path() const { return path_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] const std::string& original() const { return original_; }

  // The file with its beginning replaced.
  void write(const std::string& beginning) const {
    std::fstream out(path_, std::ios::binary | std::ios::in | std::ios::out);
    out.write(beginning.data(), static_cast<std::streamsize>(beginning.size()));
    if (!out.flush()) throw InputError(fmt::format("{}: cannot write", path_.string()));
  }
  // What is cut off beyond the kept bytes comes back as zeros.
  void truncate(std::size_t size) const { fs::resize_file(path_, size); }
  void restore() const {
    if (!fs::exists(path_)) std::ofstream(path_, std::ios::binary).flush();
    if (fs::file_size(path_) != size_) fs::resize_file(path_, size_);
    write(original_);
  }

 private:
  fs::path path_;
  std::size_t size_;
  std::string original_;
};

// Numbers that overflow, underflow or are just wrong.
void write_number(std::string& bytes, std::size_t at, Random& random) {
  constexpr std::array<std::uint64_t, 14> numbers{0,
                                                  1,
                                                  2,
                                                  3,
                                                  255,
                                                  0x7fffffff,
                                                  0x80000000,
                                                  0xffffffff,
                                                  0x100000000,
                                                  std::uint64_t{1} << 40,
                                                  std::uint64_t{1} << 62,
                                                  std::uint64_t{1} << 63,
                                                  ~std::uint64_t{0},
                                                  ~std::uint64_t{0} - 31};
  const std::uint64_t number = numbers[random.below(numbers.size())];
  const std::size_t width = random.chance(2) ? 8 : 4;
  std::memcpy(bytes.data() + at, &number, std::min(width, bytes.size() - at));
}

// Where a binary header is read with care: its first bytes, its last ones, or anywhere.
std::size_t place(std::size_t size, Random& random) {
  const std::size_t edge = std::min<std::size_t>(size, 20000);
  switch (random.below(4)) {
    case 0:
      return random.below(std::min<std::size_t>(size, 2000));
    case 1:
      return size - 1 - random.below(edge);
    default:
      return random.below(size);
  }
}

// Damages one file; returns what was done.
std::string damage_binary(const Victim& file, std::size_t header, Random& random) {
  if (random.chance(3)) {
    const std::size_t size =
        random.chance(2) ? random.below(file.size()) : place(std::min(header, file.size()), random);
    file.truncate(size);
    return fmt::format("{} cut to {} bytes", file.path().filename().string(), size);
  }
  std::string bytes = file.original();
  std::string what = file.path().filename().string() + " changed at";
  const std::size_t changes = random.chance(2) ? 1 : 1 + random.below(16);
  for (std::size_t i = 0; i < changes; ++i) {
    const std::size_t at = place(header, random);
    what += fmt::format(" {}", at);
    switch (random.below(4)) {
      case 0:
        bytes[at] =
            static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ (1U << random.below(8)));
        break;
      case 1:
        write_number(bytes, at, random);
        break;
      case 2:
        for (std::size_t j = at; j < std::min(bytes.size(), at + 1 + random.below(64)); ++j) {
          bytes[j] = static_cast<char>(random.below(256));
        }
        break;
      default:
        bytes[at] = static_cast<char>(random.below(256));
    }
  }
  file.write(bytes);
  return what;
}

std::string damage_json(const Victim& file, Random& random) {
  const std::string name = file.path().filename().string();
  if (random.chance(16)) {
    fs::remove(file.path());
    return name + " removed";
  }
  if (random.chance(5)) {
    const std::size_t size = random.below(file.size());
    file.truncate(size);
    return fmt::format("{} cut to {} bytes", name, size);
  }
  constexpr std::string_view alphabet = "0123456789-+.eE\"\\{}[],: ntfu\x01\x80\xff";
  std::string bytes = file.original();
  std::string what = name + " changed at";
  const std::size_t changes = 1 + random.below(3);
  for (std::size_t i = 0; i < changes; ++i) {
    std::size_t at = random.below(bytes.size());
    if (random.chance(2)) {  // a number's digit: the next one
      at = std::min(bytes.find_first_of("0123456789", at), bytes.size() - 1);
    }
    bytes[at] = alphabet[random.chance(2) ? random.below(10) : random.below(alphabet.size())];
    what += fmt::format(" {}", at);
  }
  file.write(bytes);
  return what;
}

// A copy of a model in a folder of its own, and the files of it that are damaged.
class Model {
 public:
  explicit Model(const fs::path& original) {
    std::string name = (fs::temp_directory_path() / "fathom-damage-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw InputError(name + ": cannot be made");
    folder_ = name;
    path_ = folder_ / original.filename();
    fs::copy(original, path_, fs::copy_options::recursive);
    if (fs::is_regular_file(path_)) {
      const ModelFiles files = ModelFiles::open(path_);
      // All that is no weights: header, metadata, tensor table.
      header_ = fs::file_size(path_) - model_sizes(files.tensors).total().bytes;
      binaries_.emplace_back(path_, header_);
      return;
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(path_)) {
      const std::string file = entry.path().filename().string();
      if (file == "expected.json") continue;
      const bool binary = entry.path().extension() == ".safetensors";
      // Other kinds of weights are not read where these are.
      if (!binary && entry.path().extension() != ".json") continue;
      (binary ? binaries_ : texts_).emplace_back(entry.path(), entry.file_size());
    }
    const auto by_path = [](const Victim& a, const Victim& b) { return a.path() < b.path(); };
    std::sort(binaries_.begin(), binaries_.end(), by_path);
    std::sort(texts_.begin(), texts_.end(), by_path);
  }
  ~Model() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  [[nodiscard]] const fs::path& path() const { return path_; }

  std::string damage(Random& random) {
    if (texts_.empty() || random.chance(3)) {
      changed_ = &binaries_[random.below(binaries_.size())];
      return damage_binary(*changed_, header_of(*changed_), random);
    }
    changed_ = &texts_[random.below(texts_.size())];
    return damage_json(*changed_, random);
  }
  void restore() const { changed_->restore(); }

 private:
  [[nodiscard]] std::size_t header_of(const Victim& file) const {
    if (header_ > 0) return header_;
    std::uint64_t length = 0;  // safetensors: eight bytes of length, then JSON
    std::memcpy(&length, file.original().data(), sizeof(length));
    return std::min<std::size_t>(8 + length, file.size());
  }

  fs::path folder_;
  fs::path path_;
  std::size_t header_ = 0;
  std::vector<Victim> binaries_, texts_;
  const Victim* changed_ = nullptr;
};

fs::path existing_default_model() {
  fs::path path = default_model_path();
  if (!fs::exists(path)) throw InputError(path.string() + ": no such model; run `make model`");
  return path;
}

enum class Outcome { refused, ran, wrong };

struct Judged {
  Outcome outcome;
  std::string text;
};

// A short prompt through all layers, then one token through the first.
std::string run_model(ModelFiles files, ThreadTeam& team, std::size_t number) {
  const Precision precision = number % 2 == 0 ? Precision::fast : Precision::exact;
  CpuModel model(std::move(files), precision, kernels(), team);
  const Tokenizer& tokenizer = model.files().tokenizer;
  std::vector<TokenId> prompt =
      tokenizer.encode("The sea <|im_end|> is 12 \xf0\x9f\x8c\x8a deep.", SpecialTokens::recognize);
  if (prompt.empty()) prompt.emplace_back(0);
  prompt.resize(std::min({prompt.size(), model.config().context, std::size_t{6}}));
  const auto cache = model.new_cache(std::min(model.config().context, prompt.size() + 1));
  ForwardOutput output;
  const SequenceStep step{.cache = cache.get(), .tokens = prompt};
  model.forward(std::span(&step, 1), output, nullptr);
  if (cache->length() < cache->capacity()) {
    const RouteSelector selector(Route::first(1, model.config().depth()));
    const SequenceStep routed{.cache = cache.get(),
                              .tokens = std::span(prompt).first(1),
                              .role = RowRole::routed,
                              .selector = &selector};
    model.forward(std::span(&routed, 1), output, nullptr);
  }
  (void)tokenizer.decode(prompt);
  const auto logits = output.logit_row(0).values;
  const bool numbers =
      std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); });
  return numbers ? "ran" : "ran: not all logits are numbers";
}

Judged judge(const fs::path& path, ThreadTeam& team, std::size_t number) {
  try {
    return {Outcome::ran, run_model(ModelFiles::open(path), team, number)};
  } catch (const InputError& error) {
    const std::string message = error.what();
    if (!std::all_of(message.begin(), message.end(), [](char c) { return c >= ' ' && c <= '~'; })) {
      return {Outcome::wrong, "refused with bytes that are not printable ASCII: " + message};
    }
    if (message.find(path.string()) == std::string::npos) {
      return {Outcome::wrong, "refused without naming the file: " + message};
    }
    return {Outcome::refused, "refused: " + message};
  } catch (const std::bad_alloc&) {
    return {Outcome::wrong, "asked for too much memory"};
  } catch (const std::exception& error) {
    return {Outcome::wrong, fmt::format("threw what is no InputError: {}", error.what())};
  }
}

int run(const fs::path& original, std::size_t count, std::size_t first) {
  ThreadTeam team(1);
  Model model(original);
  if (const Judged whole = judge(model.path(), team, 0); whole.text != "ran") {
    fmt::print("the undamaged model: {}\n", whole.text);
    return 1;
  }
  std::array<std::size_t, 3> outcomes{};
  std::vector<std::string> wrong;
  for (std::size_t number = first; number < first + count; ++number) {
    Random random(number);
    const std::string what = fmt::format("{}: {}", number, model.damage(random));
    fmt::print("{}\n", what);
    std::fflush(stdout);
    const auto start = std::chrono::steady_clock::now();
    Judged judged = judge(model.path(), team, number);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (took.count() > longest_seconds) {
      judged = {Outcome::wrong, fmt::format("took {:.1f} s: {}", took.count(), judged.text)};
    }
    fmt::print("    {}\n", judged.text);
    ++outcomes.at(static_cast<std::size_t>(judged.outcome));
    if (judged.outcome == Outcome::wrong) wrong.push_back(what + ": " + judged.text);
    model.restore();
  }
  fmt::print("\n{} variants of {}: {} refused, {} ran, {} wrong\n", count,
             original.filename().string(), outcomes[0], outcomes[1], outcomes[2]);
  for (const std::string& line : wrong) fmt::print("WRONG {}\n", line);
  return wrong.empty() ? 0 : 1;
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: damage MODEL COUNT [FIRST]\n");
    return 2;
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  const rlimit limit{fathom::most_memory, fathom::most_memory};
  ::setrlimit(RLIMIT_AS, &limit);
#endif
  try {
    const std::string name = argv[1];
    return fathom::run(
        name == "default" ? fathom::existing_default_model() : std::filesystem::path(name),
        std::stoul(argv[2]), argc > 3 ? std::stoul(argv[3]) : 0);
  } catch (const std::exception& error) {
    fmt::print(stderr, "damage: {}\n", error.what());
    return 1;
  }
}
