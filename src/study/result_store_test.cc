#include "study/result_store.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_of.h"
#include "base/random.h"

namespace fathom {
namespace {

class ResultStoreTest : public testing::Test {
 protected:
  ResultStoreTest() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~ResultStoreTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) /
      (std::string("fathom_") + testing::UnitTest::GetInstance()->current_test_info()->name());
  std::filesystem::path path_ = folder_ / "run.sqlite";
};

TEST_F(ResultStoreTest, KeepsWhatWasPut) {
  {
    ResultStore store = ResultStore::create(path_, "first");
    store.put({7, "uniform:3", "a"});
    store.put({2, "uniform:3", "b"});
    store.put({2, "first:3", "c"});
    store.put({7, "uniform:3", "d"});
    store.set_description("second");
    EXPECT_EQ(store.description(), "second");
  }
  const ResultStore store = ResultStore::open(path_);
  EXPECT_EQ(store.description(), "second");
  EXPECT_EQ(
      store.results(),
      (std::vector<Result>{{2, "first:3", "c"}, {2, "uniform:3", "b"}, {7, "uniform:3", "d"}}));
  EXPECT_THAT(store.routes_of(2), testing::ElementsAre("first:3", "uniform:3"));
  EXPECT_THAT(store.routes_of(3), testing::IsEmpty());
}

TEST_F(ResultStoreTest, AnotherProgramMayReadWhileItIsWritten) {
  ResultStore writer = ResultStore::create(path_, "run");
  writer.put({0, "full", "a"});
  const ResultStore reader = ResultStore::open(path_);
  writer.put({1, "full", "b"});
  EXPECT_EQ(reader.results().size(), 2U);
}

TEST_F(ResultStoreTest, AFileThatIsNoStoreIsDamaged) {
  std::ofstream(path_) << "not a database, but long enough to look like one: "
                       << std::string(500, 'x');
  EXPECT_THAT(error_of<DamagedStore>([&] { ResultStore::open(path_); }),
              testing::AllOf(testing::HasSubstr("run.sqlite"), testing::HasSubstr("0 results")));
  std::ofstream(path_, std::ios::trunc).flush();
  EXPECT_THROW(ResultStore::open(path_), DamagedStore);
}

// Whatever byte is changed: the store opens and has what was put, or says that it is damaged and
// gives only results that were put.
TEST_F(ResultStoreTest, NoChangedByteChangesAResult) {
  std::map<std::pair<std::uint64_t, std::string>, std::string> put;
  {
    ResultStore store = ResultStore::create(path_, "the run");
    std::vector<Result> results;
    for (std::uint64_t sample = 0; sample < 60; ++sample) {
      for (const std::string route : {"first:2", "uniform:2"}) {
        const std::string value = fmt::format("{{\"final\": 0.{}}}", 1000 + sample);
        results.push_back({sample, route, value});
        put[{sample, route}] = value;
      }
    }
    store.put(results);
  }
  std::ifstream file(path_, std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(file), {}};
  RandomStream random({.seed = 1});
  int damaged = 0;
  std::size_t kept = 0;
  constexpr int flips = 400;
  for (int i = 0; i < flips; ++i) {
    std::string bytes = whole;
    const std::size_t place = random.below(bytes.size());
    bytes[place] = static_cast<char>(bytes[place] ^ static_cast<char>(1U << random.below(8)));
    if (i % 8 == 0) bytes.resize(place);
    for (const char* const suffix : {"-wal", "-shm"}) {
      std::filesystem::remove(path_.string() + suffix);
    }
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
    const auto check = [&](const std::vector<Result>& results) {
      for (const Result& result : results) {
        const auto found = put.find({result.sample, result.route});
        ASSERT_NE(found, put.end()) << "byte " << place;
        ASSERT_EQ(result.value, found->second) << "byte " << place;
      }
    };
    try {
      const ResultStore store = ResultStore::open(path_);
      EXPECT_EQ(store.description(), "the run");
      EXPECT_EQ(store.results().size(), put.size()) << "byte " << place;
      check(store.results());
    } catch (const DamagedStore& damage) {
      ++damaged;
      kept += damage.results().size();
      check(damage.results());
    } catch (const FileError&) {
      // The system, or a file that says that a newer SQLite wrote it.
    }
  }
  EXPECT_GT(damaged, flips / 4);
  // Most damage is to one page, and the others' results survive it.
  EXPECT_GT(kept, static_cast<std::size_t>(damaged) * put.size() / 4);
}

}  // namespace
}  // namespace fathom
