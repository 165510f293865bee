#include "model/model_hash.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/sha256.h"

namespace fathom {
namespace {

TEST(ModelHash, FollowsContentsAndNamesButNotPlaces) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "fathom_model_hash";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder / "a");
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder / name) << text;
  };
  write("m.gguf", "abc");
  EXPECT_EQ(model_sha256(folder / "m.gguf"), sha256("abc"));

  write("a/model.safetensors", "weights");
  write("a/config.json", "{}");
  write("a/README.md", "text");
  const std::string hash = model_sha256(folder / "a");
  EXPECT_EQ(hash,
            sha256(sha256("{}") + "  config.json\n" + sha256("weights") + "  model.safetensors\n"));
  std::filesystem::rename(folder / "a", folder / "b");
  write("b/README.md", "other text");
  EXPECT_EQ(model_sha256(folder / "b"), hash);
  write("b/config.json", "{ }");
  EXPECT_NE(model_sha256(folder / "b"), hash);
  EXPECT_THROW(model_sha256(folder / "none"), FileError);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace fathom
