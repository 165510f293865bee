#include "report/markup.h"

#include <limits>

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(HtmlText, EscapesMarkup) {
  EXPECT_EQ(html_text("a < b & \"c\" > 'd'"), "a &lt; b &amp; &quot;c&quot; &gt; &#39;d&#39;");
  EXPECT_EQ(html_text("&lt;"), "&amp;lt;");
  EXPECT_EQ(html_text("ℓ₂ ≥ 3 μs"), "ℓ₂ ≥ 3 μs");
}

TEST(HtmlText, ReplacesWhatIsNoText) {
  EXPECT_EQ(html_text("a\xff"
                      "b\xe2\x82"),
            "a\uFFFDb\uFFFD");
  EXPECT_EQ(html_text(std::string_view("\0\x1b[1m\x7f\t\n", 8)), "\uFFFD\uFFFD[1m\uFFFD\t\n");
}

TEST(ScriptJson, CannotEndItsElement) {
  const nlohmann::ordered_json json = {{"</script>", "<!-- \u2028 é \xff"}};
  EXPECT_EQ(script_json(json), R"({"\u003c/script>":"\u003c!-- \u2028 \u00e9 \ufffd"})");
  EXPECT_EQ(nlohmann::ordered_json::parse(script_json({{"a", "<b>"}})),
            (nlohmann::ordered_json{{"a", "<b>"}}));
}

TEST(ScriptJson, WritesNullForWhatJsonHasNoNumberFor) {
  EXPECT_EQ(script_json({1.5, std::numeric_limits<double>::quiet_NaN()}), "[1.5,null]");
}

TEST(DataUrl, EscapesWhatUrlsCannotHold) {
  EXPECT_EQ(data_url("text/csv", "a b,\"1%\"\n'#&?<é\xff"),
            "data:text/csv;charset=utf-8,a%20b,%221%25%22%0A%27%23%26%3F%3C%C3%A9%EF%BF%BD");
}

}  // namespace
}  // namespace fathom
