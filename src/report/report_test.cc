#include "report/report.h"

#include <cmath>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_of.h"
#include "report/page_files.h"

namespace fathom {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string file_bytes(std::string_view path) {
  std::ifstream file(std::string(FATHOM_SOURCE_DIR "/").append(path), std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

Figure figure(std::string id) {
  return {.id = std::move(id),
          .title = "Figure 1: <speed> & cost",
          .caption = "What \"it\" shows",
          .spec = {{"mark", "</script>"}},
          .table = {{"cost", "note"}, {{"12", "a,b"}, {"-3", ""}}}};
}

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t result = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size())
    ++result;
  return result;
}

TEST(PageFiles, AreTheFilesOfTheTree) {
  EXPECT_EQ(embedded::page_css, file_bytes("src/report/page.css"));
  EXPECT_EQ(embedded::page_js, file_bytes("src/report/page.js"));
  EXPECT_EQ(embedded::vega_min_js, file_bytes("third_party/vega/vega.min.js"));
  EXPECT_EQ(embedded::vega_lite_min_js, file_bytes("third_party/vega/vega-lite.min.js"));
  EXPECT_EQ(embedded::vega_embed_min_js, file_bytes("third_party/vega/vega-embed.min.js"));
  EXPECT_EQ(embedded::licenses_txt, file_bytes("third_party/vega/licenses.txt"));
}

TEST(PageFiles, CanStandInAPage) {
  for (const std::string_view script : {embedded::page_js, embedded::vega_min_js,
                                        embedded::vega_lite_min_js, embedded::vega_embed_min_js}) {
    EXPECT_THAT(script, Not(HasSubstr("</script")));
    EXPECT_THAT(script, Not(HasSubstr("<!--")));
    EXPECT_THAT(script, Not(HasSubstr("sourceMappingURL")));
  }
  EXPECT_THAT(embedded::page_css, Not(HasSubstr("</style")));
  EXPECT_THAT(embedded::licenses_txt, Not(HasSubstr("*/")));
}

TEST(Report, HasAllThatItIsGiven) {
  const std::string html =
      to_html({.title = "Title <1>",
               .summary = "Summary <2>",
               .warnings = {"Warning <3>"},
               .facts = {{"fact <4>", "value <5>"}},
               .verdicts = {{"Claim <6>", "Source <7>", Outcome::holds, "Evidence <8>"},
                            {"Other", "", Outcome::does_not_hold, ""},
                            {"Third", "", Outcome::cannot_tell, ""}},
               .figures = {figure("fig1")},
               .choices = {"Choice <9>"},
               .command = "fathom  study <10>",
               .provenance = {{"seed <11>", "<12>"}}});
  for (const std::string_view part :
       {"<title>Title &lt;1&gt;</title>", "<h1>Title &lt;1&gt;</h1>", "Summary &lt;2&gt;",
        "Warning &lt;3&gt;", "<dt>fact &lt;4&gt;</dt><dd>value &lt;5&gt;</dd>", "Claim &lt;6&gt;",
        "Source &lt;7&gt;", "Evidence &lt;8&gt;", ">holds</span>", ">does not hold</span>",
        ">cannot tell</span>", "Choice &lt;9&gt;",
        "<span>fathom</span>  <span>study</span> <span>&lt;10&gt;</span></code>",
        "<dt>seed &lt;11&gt;</dt><dd>&lt;12&gt;</dd>"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
}

TEST(Report, HasFiguresWithTheirNumbers) {
  const std::string html = to_html({.title = "t", .figures = {figure("fig1"), figure("fig-2_b")}});
  for (const std::string_view part :
       {"<article id=\"fig1\"", "<h3 id=\"fig1.title\">Figure 1: &lt;speed&gt; &amp; cost</h3>",
        "<a href=\"#fig-2_b\">Figure 1</a>", "What &quot;it&quot; shows",
        "{\"mark\":\"\\u003c/script>\"}</script>", "Table <span>2 rows</span>",
        "<th scope=\"col\" class=\"n\">cost</th><th scope=\"col\">note</th>",
        "<tr><td class=\"n\">-3</td><td></td></tr>", "download=\"fig1.csv\"",
        "\"data:text/csv;charset=utf-8,cost,note%0A12,%22a,b%22%0A-3,%0A\""}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
  EXPECT_THAT(html, Not(HasSubstr("data-panel-aspect")));
  Figure square = figure("square");
  square.panel_aspect = 1;
  EXPECT_THAT(to_html({.title = "t", .figures = {square}}), HasSubstr("data-panel-aspect=\"1\""));
}

// Two specs, and four scripts that draw them: any other end of a script would be a leak.
TEST(Report, EndsNoScriptEarly) {
  const std::string html = to_html({.title = "</script>", .figures = {figure("a"), figure("b")}});
  EXPECT_EQ(count(html, "<script"), 6);
  EXPECT_EQ(count(html, "</script"), 6);
  EXPECT_EQ(count(html, "<!--"), 0);
}

TEST(Report, LeavesOutWhatIsEmpty) {
  const std::string html = to_html({.title = "Only a title"});
  for (const std::string_view part : {"<section", "<script", "<dl", "role=\"note\"", "<footer"}) {
    EXPECT_THAT(html, Not(HasSubstr(part)));
  }
}

TEST(Report, NeedsNothingElse) {
  const std::string html = to_html({.title = "t", .figures = {figure("a")}});
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  EXPECT_THAT(html, Not(HasSubstr("unsafe-eval")));
  const std::string markup = html.substr(0, html.find("<script>"));
  EXPECT_EQ(count(markup, "src="), 0);
  EXPECT_EQ(count(markup, "<link"), 0);
}

TEST(Report, TakesIllFormedText) {
  Figure bad = figure("a");
  bad.spec = {{"mark", "\xff"}};
  bad.table.rows[0][1] = "\xc3";
  const std::string html = to_html({.title = "a\xff", .figures = {bad}});
  EXPECT_THAT(html, HasSubstr("<title>a\uFFFD</title>"));
  EXPECT_THAT(html, HasSubstr("{\"mark\":\"\\ufffd\"}"));
  EXPECT_THAT(html, HasSubstr("<td>\uFFFD</td>"));
}

TEST(Report, RefusesFiguresThatAreNoFigures) {
  const auto error = [](std::vector<Figure> figures) {
    return error_of<std::invalid_argument>(
        [&] { return to_html({.title = "t", .figures = std::move(figures)}); });
  };
  EXPECT_EQ(error({figure("")}), "figure '': its id is not of letters, digits, '-' and '_'");
  EXPECT_EQ(error({figure("a/b")}), "figure 'a/b': its id is not of letters, digits, '-' and '_'");
  EXPECT_EQ(error({figure("a"), figure("a")}), "figure 'a': another figure has its id");
  Figure ragged = figure("a");
  ragged.table.rows[1].pop_back();
  EXPECT_EQ(error({ragged}), "a table has 2 columns, but its row 1 has 1 cells");
  for (const double aspect : {0.0, -1.0, HUGE_VAL}) {
    Figure flat = figure("a");
    flat.panel_aspect = aspect;
    EXPECT_EQ(error({flat}), "figure 'a': its panel_aspect is not above 0");
  }
}

}  // namespace
}  // namespace fathom
