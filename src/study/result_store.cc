#include "study/result_store.h"

#include <map>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/sha256.h"

namespace fathom {
namespace {

// `run` has one row. The hash of a text is taken together with its key, so that a value that ends
// up in another row is noticed, too.
constexpr auto schema =
    "CREATE TABLE run (description TEXT NOT NULL, hash TEXT NOT NULL) STRICT;"
    "CREATE TABLE results (sample INTEGER NOT NULL, route TEXT NOT NULL, value TEXT NOT NULL, "
    "hash TEXT NOT NULL, PRIMARY KEY (sample, route)) STRICT, WITHOUT ROWID;";

constexpr auto select_results = "SELECT sample, route, value, hash FROM results ORDER BY ";

std::string hash_of(const Result& result) {
  return sha256(fmt::format("{}\n{}\n{}", result.sample, result.route, result.value)).substr(0, 16);
}

std::string hash_of(std::string_view description) { return sha256(description).substr(0, 16); }

// Runs `work` on the database of a file; what SQLite reports is reported with the file's name.
template <class Work>
auto guarded(const std::filesystem::path& path, const Work& work) {
  try {
    return work();
  } catch (const SqliteError& error) {
    throw FileError(path.string(), "", error.what());
  }
}

void write_description(Database& database, std::string_view description) {
  database.execute("BEGIN IMMEDIATE; DELETE FROM run;");
  Statement(database, "INSERT INTO run VALUES (?, ?)")
      .bind(1, description)
      .bind(2, hash_of(description))
      .run();
  database.execute("COMMIT");
}

// Reads a whole file, or as much of it as can be read.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path) {}

  // Returns whether everything was whole.
  bool read() {
    try {
      database_.emplace(path_, Database::Mode::read_write);
    } catch (const SqliteError& error) {
      note(error);
      return false;
    }
    attempt([&] { check_structure(); });
    attempt([&] { read_description(); });
    attempt([&] { read_results("sample, route"); });
    // What comes after a broken page is reached from the other end.
    if (!problem_.empty()) attempt([&] { read_results("sample DESC, route DESC"); });
    return problem_.empty();
  }

  Database take_database() { return std::move(*database_); }
  [[nodiscard]] std::string description() const { return description_.value(); }

  [[nodiscard]] DamagedStore damage() const {
    std::vector<Result> whole;
    for (const auto& [key, value] : results_) whole.push_back({key.first, key.second, value});
    return {path_, problem_, description_, std::move(whole)};
  }

 private:
  template <class Work>
  void attempt(const Work& work) {
    try {
      work();
    } catch (const SqliteError& error) {
      note(error);
    }
  }

  void note(const SqliteError& error) {
    if (!error.is_damage()) throw FileError(path_.string(), "", error.what());
    note(error.what());
  }
  void note(std::string_view problem) {
    if (problem_.empty()) problem_ = problem;
  }

  void check_structure() {
    Statement check(*database_, "PRAGMA quick_check(1)");
    if (!check.step()) return note("no answer from the integrity check");
    if (check.text(0) != "ok") note(check.text(0));
  }

  void read_description() {
    Statement select(*database_, "SELECT description, hash FROM run");
    if (!select.step()) return note("the description of the run is missing");
    std::string description = select.text(0);
    if (select.text(1) != hash_of(description)) {
      return note("the description of the run is not what was written");
    }
    description_ = std::move(description);
  }

  void read_results(const std::string& order) {
    Statement select(*database_, select_results + order);
    while (select.step()) {
      Result result{static_cast<std::uint64_t>(select.integer(0)), select.text(1), select.text(2)};
      if (select.text(3) != hash_of(result)) {
        note(fmt::format("sample {}, route {}: not what was written", result.sample, result.route));
        continue;
      }
      results_[{result.sample, std::move(result.route)}] = std::move(result.value);
    }
  }

  std::filesystem::path path_;
  std::optional<Database> database_;
  std::string problem_;
  std::optional<std::string> description_;
  std::map<std::pair<std::uint64_t, std::string>, std::string> results_;
};

}  // namespace

DamagedStore::DamagedStore(const std::filesystem::path& path, std::string_view problem,
                           std::optional<std::string> description, std::vector<Result> results)
    : FileError(path.string(), "",
                fmt::format("damaged ({}); {} results in it are whole", problem, results.size())),
      problem_(problem),
      description_(std::move(description)),
      results_(std::move(results)) {}

ResultStore::ResultStore(std::filesystem::path path, Database database, std::string description)
    : path_(std::move(path)),
      database_(std::move(database)),
      description_(std::move(description)) {}

ResultStore ResultStore::create(const std::filesystem::path& path, std::string_view description) {
  const std::filesystem::path aside = path.string() + ".part";
  // Of a run that was killed here. Its journal goes first: beside a new file it would be played
  // back.
  std::filesystem::remove(aside.string() + "-journal");
  std::filesystem::remove(aside);
  guarded(path, [&] {
    Database database(aside, Database::Mode::create);
    // The file must be whole before it gets its name, so it is not in WAL mode yet.
    database.execute("PRAGMA synchronous = FULL");
    database.execute(schema);
    write_description(database, description);
  });
  std::error_code error;
  std::filesystem::rename(aside, path, error);
  if (error) throw FileError(path.string(), "", error.message());
  return open(path);
}

ResultStore ResultStore::open(const std::filesystem::path& path) {
  Reader reader(path);
  if (!reader.read()) throw reader.damage();
  return guarded(path, [&] {
    ResultStore store(path, reader.take_database(), reader.description());
    // In WAL mode a killed process loses nothing without a sync for every result.
    store.database_.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
    return store;
  });
}

void ResultStore::set_description(std::string_view description) {
  guarded(path_, [&] { write_description(database_, description); });
  description_ = description;
}

void ResultStore::put(const Result& result) { put(std::vector{result}); }

void ResultStore::put(const std::vector<Result>& results) {
  guarded(path_, [&] {
    database_.execute("BEGIN IMMEDIATE");
    try {
      Statement insert(database_, "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)");
      for (const Result& result : results) {
        insert.bind(1, static_cast<std::int64_t>(result.sample))
            .bind(2, result.route)
            .bind(3, result.value)
            .bind(4, hash_of(result))
            .run();
      }
      database_.execute("COMMIT");
    } catch (const SqliteError&) {
      // A disk that is full has rolled back by itself; then this says so.
      try {
        database_.execute("ROLLBACK");
      } catch (const SqliteError&) {  // NOLINT(bugprone-empty-catch)
      }
      throw;
    }
  });
}

std::set<std::string> ResultStore::routes_of(std::uint64_t sample) const {
  return guarded(path_, [&] {
    std::set<std::string> routes;
    Statement select(database_, "SELECT route FROM results WHERE sample = ?");
    select.bind(1, static_cast<std::int64_t>(sample));
    while (select.step()) routes.insert(select.text(0));
    return routes;
  });
}

std::vector<Result> ResultStore::results() const {
  return guarded(path_, [&] {
    std::vector<Result> results;
    Statement select(database_, std::string(select_results) + "sample, route");
    while (select.step()) {
      results.push_back(
          {static_cast<std::uint64_t>(select.integer(0)), select.text(1), select.text(2)});
    }
    return results;
  });
}

}  // namespace fathom
