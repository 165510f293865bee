#include "study/run_folder.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "formats/json_file.h"

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;

constexpr auto store_name = "run.sqlite";
constexpr auto config_name = "config.json";
constexpr auto lock_name = "lock";
constexpr std::size_t largest_config = std::size_t{1} << 20;

ResultStore new_store(const std::filesystem::path& folder, const RunConfig& config) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    // The others are what a run leaves that is killed before it has a store.
    if (name == lock_name || name.starts_with(std::string(store_name) + ".part")) continue;
    throw FileError(folder.string(), "",
                    fmt::format("holds '{}' but no {}, so it is no run's folder; give one that is "
                                "empty or not there",
                                name, store_name));
  }
  return ResultStore::create(folder / store_name, to_json(config).dump());
}

// A name that is not taken yet.
std::filesystem::path damaged_name(const std::filesystem::path& folder) {
  std::filesystem::path path = folder / "run.damaged.sqlite";
  for (int i = 2; std::filesystem::exists(path); ++i) {
    path = folder / fmt::format("run.damaged-{}.sqlite", i);
  }
  return path;
}

// The run's description: the store's own, else that in config.json, else nothing.
std::optional<std::string> surviving_description(const std::filesystem::path& folder,
                                                 const DamagedStore& damage) {
  if (damage.description()) return damage.description();
  const std::filesystem::path copy = folder / config_name;
  try {
    const nlohmann::json json = read_json_object(copy, largest_config);
    return to_json(run_config_from_json(json, copy.string())).dump();
  } catch (const FileError&) {
    return std::nullopt;
  }
}

// Puts a store with what is whole in the place of a damaged one, and says so.
[[noreturn]] void repair(const std::filesystem::path& folder, const DamagedStore& damage) {
  const std::filesystem::path store = folder / store_name;
  const std::optional<std::string> description = surviving_description(folder, damage);
  if (!description) {
    throw FileError(store.string(), "",
                    fmt::format("damaged ({}), and so is {}, so that it cannot be told what its {} "
                                "whole results are of. The file was left as it is; measure again "
                                "in another folder",
                                damage.problem(), config_name, damage.results().size()));
  }
  const std::filesystem::path aside = damaged_name(folder);
  for (const char* const suffix : {"", "-wal", "-shm"}) {
    const std::filesystem::path from = store.string() + suffix;
    if (std::filesystem::exists(from)) std::filesystem::rename(from, aside.string() + suffix);
  }
  ResultStore::create(store, *description).put(damage.results());
  throw FileError(store.string(), "",
                  fmt::format("damaged ({}). {} results are whole and were kept; the rest will be "
                              "measured again. The damaged file is now {}. Run the same command "
                              "once more to go on",
                              damage.problem(), damage.results().size(), aside.string()));
}

// "seed: 0 there, 1 asked for", for everything that changes results.
std::vector<std::string> differences(const RunConfig& there, const RunConfig& wanted) {
  std::vector<std::string> found;
  const auto compare = [&](std::string_view name, const std::string& a, const std::string& b) {
    if (a != b) found.push_back(fmt::format("{}: {} there, {} asked for", name, a, b));
  };
  compare("study", there.study, wanted.study);
  if (there.study != wanted.study) return found;
  // Paths do not matter, contents do.
  if (there.model_sha256 != wanted.model_sha256) {
    compare("model", fmt::format("{} (SHA-256 {:.12})", there.model_path, there.model_sha256),
            fmt::format("{} ({:.12})", wanted.model_path, wanted.model_sha256));
  }
  if (there.data_sha256 != wanted.data_sha256) {
    compare("data", fmt::format("{} (SHA-256 {:.12})", there.data_path, there.data_sha256),
            fmt::format("{} ({:.12})", wanted.data_path, wanted.data_sha256));
  }
  const auto text = [](const Json& options, const std::string& name) {
    const auto option = options.find(name);
    if (option == options.end()) return std::string("nothing");
    // Without an order of keys: what is read back has lost it.
    return option->is_string() ? option->get<std::string>() : nlohmann::json(*option).dump();
  };
  for (const auto& [name, value] : wanted.options.items()) {
    compare(name, text(there.options, name), text(wanted.options, name));
  }
  for (const auto& [name, value] : there.options.items()) {
    if (!wanted.options.contains(name)) compare(name, text(there.options, name), "nothing");
  }
  return found;
}

}  // namespace

Json to_json(const RunConfig& config) {
  return {
      {"study", config.study},
      {"versions", config.versions},
      {"command", config.command},
      {"model",
       {{"path", config.model_path},
        {"name", config.model_name},
        {"layers", config.layers},
        {"sha256", config.model_sha256}}},
      {"data",
       {{"path", config.data_path}, {"kind", config.data_kind}, {"sha256", config.data_sha256}}},
      {"rows", config.rows},
      {"options", config.options}};
}

RunConfig run_config_from_json(const nlohmann::json& json, std::string_view file) {
  const JsonFields fields(std::string(file), json);
  const auto object = [&](std::string_view key) {
    const auto inner = fields.find_object(key);
    if (!inner) fields.fail(key, "missing; expected an object");
    return *inner;
  };
  const JsonFields model = object("model");
  const JsonFields data = object("data");
  constexpr std::uint64_t most_layers = 65536;
  RunConfig config{
      .study = fields.require_string("study"),
      .versions = fields.find_strings("versions").value_or(std::vector<std::string>{}),
      .command = fields.require_string("command"),
      .model_path = model.require_string("path"),
      .model_name = model.require_string("name"),
      .model_sha256 = model.require_string("sha256"),
      .layers = static_cast<std::int32_t>(model.require_unsigned("layers", most_layers)),
      .data_path = data.require_string("path"),
      .data_sha256 = data.require_string("sha256"),
      .data_kind = data.require_string("kind"),
      .rows = fields.require_unsigned("rows"),
      .options = object("options").object(),
  };
  if (config.versions.empty()) fields.fail("versions", "expected at least one version");
  return config;
}

FolderLock::FolderLock(const std::filesystem::path& folder)
    : file_(::open((folder / lock_name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (file_ < 0) {
    throw FileError((folder / lock_name).string(), "",
                    fmt::format("cannot open: {}", std::generic_category().message(errno)));
  }
  std::array<char, 32> owner{};
  if (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
    const ssize_t size = ::read(file_, owner.data(), owner.size() - 1);
    ::close(file_);
    throw FileError(folder.string(), "",
                    fmt::format("another fathom is writing here{}",
                                size > 0 ? fmt::format(" (process {})", owner.data()) : ""));
  }
  // For the message above only; the lock itself is the system's and goes with the process.
  const std::string process = fmt::format("{}", ::getpid());
  if (::ftruncate(file_, 0) != 0 || ::write(file_, process.data(), process.size()) < 0) {
    // Then the message names no process.
  }
}

FolderLock::FolderLock(FolderLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

FolderLock::~FolderLock() {
  if (file_ >= 0) ::close(file_);
}

RunFolder::RunFolder(std::filesystem::path path, std::optional<FolderLock> lock, ResultStore store)
    : path_(std::move(path)), lock_(std::move(lock)), store_(std::move(store)) {
  read_config();
}

void RunFolder::read_config() {
  const std::string file = (path_ / store_name).string();
  config_ = run_config_from_json(parse_json(store_.description(), file), file);
}

RunFolder RunFolder::open_to_measure(const std::filesystem::path& path, const RunConfig& wanted) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error || !std::filesystem::is_directory(path)) {
    throw FileError(path.string(), "",
                    fmt::format("cannot make this folder: {}",
                                error ? error.message() : "a file is in its place"));
  }
  std::optional<FolderLock> lock(std::in_place, path);
  const auto store = [&] {
    if (!std::filesystem::exists(path / store_name)) return new_store(path, wanted);
    try {
      return ResultStore::open(path / store_name);
    } catch (const DamagedStore& damage) {
      repair(path, damage);
    }
  };
  RunFolder folder(path, std::move(lock), store());
  folder.adopt(wanted);
  return folder;
}

// Checks that the run that is here is the one that is wanted, and extends it if that asks for more.
void RunFolder::adopt(const RunConfig& wanted) {
  const std::vector<std::string> found = differences(config_, wanted);
  if (!found.empty()) {
    throw FileError(path_.string(), "",
                    fmt::format("made with other options, which change results: {}. Give those, or "
                                "another folder",
                                fmt::join(found, "; ")));
  }
  if (wanted.rows < config_.rows) {
    throw FileError(path_.string(), "",
                    fmt::format("it is a run of {} rows and {} are asked for; give --limit {} or "
                                "more, or another folder",
                                config_.rows, wanted.rows, config_.rows));
  }
  RunConfig next = wanted;
  next.versions = config_.versions;
  if (next.versions.back() != wanted.versions.back()) {
    warnings_.push_back(fmt::format("this run was begun by fathom {}; this is {}",
                                    next.versions.back(), wanted.versions.back()));
    next.versions.push_back(wanted.versions.back());
  }
  const std::string description = to_json(next).dump();
  if (description != store_.description()) store_.set_description(description);
  read_config();  // as a report finds it
  write(config_name, to_json(config_).dump(2) + "\n");
}

RunFolder RunFolder::open_to_report(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path / store_name)) {
    throw FileError(path.string(), "",
                    fmt::format("no run's folder: there is no {} in it", store_name));
  }
  try {
    return {path, std::nullopt, ResultStore::open(path / store_name)};
  } catch (const DamagedStore& damage) {
    throw FileError((path / store_name).string(), "",
                    fmt::format("damaged ({}); {} results in it are whole. The study's own "
                                "command, run again, keeps those and goes on",
                                damage.problem(), damage.results().size()));
  }
}

void RunFolder::write(std::string_view name, std::string_view bytes) const {
  write_file_atomically(path_ / name, bytes);
}

}  // namespace fathom
