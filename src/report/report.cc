#include "report/report.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

#include "report/markup.h"
#include "report/page_files.h"

namespace fathom {
namespace {

// Nothing but what stands in the page may run, and nothing at all may be loaded.
constexpr std::string_view head = R"(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{css}</style>
<noscript><style>.drawing, .needs-script {{ display: none; }}</style></noscript>
</head>
<body>
)";

constexpr std::string_view no_script =
    "<noscript><p class=\"note\">The figures are drawn by JavaScript, which is off here. Their "
    "numbers are in the tables below each title.</p></noscript>\n";

// Ids of the page's own have a dot, so that no figure's is the same.
struct Section {
  std::string_view id;
  std::string_view heading;
};
constexpr Section facts_section{"page.measured", "What was measured"};
constexpr Section verdicts_section{"page.verdicts", "Verdicts"};
constexpr Section figures_section{"page.figures", "Figures"};
constexpr Section choices_section{"page.choices", "Choices"};
constexpr Section command_section{"page.command", "Command"};
constexpr Section provenance_section{"page.provenance", "Provenance"};

template <class... Args>
void append(std::string& html, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(html), format, std::forward<Args>(args)...);
}

void begin_section(std::string& html, const Section& section) {
  append(html, "<section aria-labelledby=\"{0}\">\n<h2 id=\"{0}\">{1}</h2>\n", section.id,
         section.heading);
}

void append_link(std::string& html, std::string_view id, std::string_view text) {
  append(html, "<a href=\"#{}\">{}</a>\n", id, text);
}

void append_list(std::string& html, const std::vector<std::string>& items) {
  html += "<ul>\n";
  for (const std::string& item : items) append(html, "<li>{}</li>\n", html_text(item));
  html += "</ul>\n";
}

void append_facts(std::string& html, const std::vector<Fact>& facts) {
  html += "<dl>\n";
  for (const auto& [key, value] : facts) {
    append(html, "<div><dt>{}</dt><dd>{}</dd></div>\n", html_text(key), html_text(value));
  }
  html += "</dl>\n";
}

// Lines break between a command's words, not inside its "--options".
void append_command(std::string& html, std::string_view command) {
  html += "<pre><code>";
  while (!command.empty()) {
    const std::size_t word = std::min(command.find(' '), command.size());
    append(html, "<span>{}</span>", html_text(command.substr(0, word)));
    const std::size_t next = std::min(command.find_first_not_of(' ', word), command.size());
    html.append(next - word, ' ');
    command.remove_prefix(next);
  }
  html += "</code></pre>\n";
}

void append_warnings(std::string& html, const std::vector<std::string>& warnings) {
  if (warnings.empty()) return;
  html += "<div class=\"warnings\" role=\"note\" aria-label=\"Warnings\">\n";
  for (const std::string& warning : warnings) {
    append(html, "<p><strong>Warning:</strong> {}</p>\n", html_text(warning));
  }
  html += "</div>\n";
}

// The words of a class attribute.
std::string_view badge_class(Outcome outcome) {
  switch (outcome) {
    case Outcome::holds:
      return "badge holds";
    case Outcome::does_not_hold:
      return "badge does-not-hold";
    case Outcome::cannot_tell:
      return "badge cannot-tell";
  }
  throw std::logic_error("an Outcome without a badge");
}

void append_verdicts(std::string& html, const std::vector<Verdict>& verdicts) {
  html += "<ul class=\"verdicts\">\n";
  for (const Verdict& verdict : verdicts) {
    append(html,
           "<li><span class=\"{}\">{}</span>\n<div><p class=\"claim\">{}</p>\n"
           "<p class=\"source\">{}</p>\n<p class=\"evidence\">{}</p></div></li>\n",
           badge_class(verdict.outcome), name(verdict.outcome), html_text(verdict.claim),
           html_text(verdict.source), html_text(verdict.evidence));
  }
  html += "</ul>\n";
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "12", "-0.5", "+3 ms", "−1" (with the minus sign proper): what begins with a number.
bool begins_with_number(std::string_view cell) {
  for (const std::string_view sign : {"-", "+", "−"}) {
    if (cell.starts_with(sign)) {
      cell.remove_prefix(sign.size());
      break;
    }
  }
  return !cell.empty() && is_digit(cell.front());
}

// Numbers are set flush right, so that their digits stand below each other.
std::vector<bool> numeric_columns(const Table& table) {
  std::vector<bool> numeric(table.columns.size(), !table.rows.empty());
  for (const std::vector<std::string>& row : table.rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      if (!row[column].empty() && !begins_with_number(row[column])) numeric[column] = false;
    }
  }
  return numeric;
}

void append_table(std::string& html, const Table& table) {
  const std::vector<bool> numeric = numeric_columns(table);
  html += "<table>\n<thead><tr>";
  for (std::size_t column = 0; column < table.columns.size(); ++column) {
    append(html, "<th scope=\"col\"{}>{}</th>", numeric[column] ? " class=\"n\"" : "",
           html_text(table.columns[column]));
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const std::vector<std::string>& row : table.rows) {
    html += "<tr>";
    for (std::size_t column = 0; column < row.size(); ++column) {
      append(html, "<td{}>{}</td>", numeric[column] ? " class=\"n\"" : "", html_text(row[column]));
    }
    html += "</tr>\n";
  }
  html += "</tbody>\n</table>\n";
}

void append_figure(std::string& html, const Figure& figure) {
  const std::string title = html_text(figure.title);
  append(html, "<article id=\"{0}\" class=\"figure\" aria-labelledby=\"{0}.title\"", figure.id);
  if (figure.panel_aspect) append(html, " data-panel-aspect=\"{}\"", *figure.panel_aspect);
  append(html,
         ">\n<h3 id=\"{0}.title\">{1}</h3>\n"
         "<figure aria-labelledby=\"{0}.title\">\n"
         "<div class=\"drawing\" role=\"img\" aria-labelledby=\"{0}.title\" "
         "aria-describedby=\"{0}.caption\"></div>\n"
         "<figcaption id=\"{0}.caption\">{2}</figcaption>\n</figure>\n",
         figure.id, title, html_text(figure.caption));
  append(html,
         "<div class=\"numbers\">\n<details>\n<summary>Table <span>{2} {3}</span></summary>\n"
         "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Table: {1}\">\n",
         figure.id, title, figure.table.rows.size(),
         figure.table.rows.size() == 1 ? "row" : "rows");
  append_table(html, figure.table);
  append(html,
         "</div>\n</details>\n<p class=\"downloads\">Download "
         "<a download=\"{0}.csv\" href=\"{1}\" aria-label=\"CSV of {2}\">CSV</a>"
         "<span class=\"needs-script\"> "
         "<button type=\"button\" data-save=\"svg\" aria-label=\"SVG of {2}\">SVG</button> "
         "<button type=\"button\" data-save=\"vega-lite\" aria-label=\"Vega-Lite of {2}\">"
         "Vega-Lite</button></span></p>\n</div>\n",
         figure.id, data_url("text/csv", to_csv(figure.table)), title);
  append(html, "<script type=\"application/json\" class=\"spec\">{}</script>\n</article>\n",
         script_json(figure.spec));
}

bool is_id_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_';
}

void check_figures(const std::vector<Figure>& figures) {
  std::set<std::string_view> ids;
  for (const Figure& figure : figures) {
    const auto fail = [&](std::string_view problem) {
      throw std::invalid_argument(fmt::format("figure '{}': {}", figure.id, problem));
    };
    if (figure.id.empty() || !std::all_of(figure.id.begin(), figure.id.end(), is_id_character)) {
      fail("its id is not of letters, digits, '-' and '_'");
    }
    if (!ids.insert(figure.id).second) fail("another figure has its id");
    if (figure.panel_aspect && !(std::isfinite(*figure.panel_aspect) && *figure.panel_aspect > 0)) {
      fail("its panel_aspect is not above 0");
    }
    check(figure.table);
  }
}

// A part of the page as the contents list it.
void append_contents(std::string& html, const Report& report) {
  html += "<nav aria-label=\"Contents\">\n";
  const auto link = [&](const Section& section) { append_link(html, section.id, section.heading); };
  if (!report.verdicts.empty()) link(verdicts_section);
  for (const Figure& figure : report.figures) {
    // "Figure 1a: similarity against cost" is listed as "Figure 1a".
    append_link(html, figure.id, html_text(figure.title.substr(0, figure.title.find(':'))));
  }
  if (!report.choices.empty()) link(choices_section);
  if (!report.command.empty()) link(command_section);
  if (!report.provenance.empty()) link(provenance_section);
  html += "</nav>\n";
}

void append_script(std::string& html, std::string_view code) {
  append(html, "<script>\n{}\n</script>\n", code);
}

}  // namespace

std::string_view name(Outcome outcome) {
  switch (outcome) {
    case Outcome::holds:
      return "holds";
    case Outcome::does_not_hold:
      return "does not hold";
    case Outcome::cannot_tell:
      return "cannot tell";
  }
  throw std::logic_error("an Outcome without a name");
}

std::string to_html(const Report& report) {
  check_figures(report.figures);
  std::string html = fmt::format(head, fmt::arg("title", html_text(report.title)),
                                 fmt::arg("css", embedded::page_css));
  append(html, "<header>\n<h1>{}</h1>\n", html_text(report.title));
  append_warnings(html, report.warnings);
  if (!report.summary.empty()) {
    append(html, "<p class=\"summary\">{}</p>\n", html_text(report.summary));
  }
  append_contents(html, report);
  html += "</header>\n<main>\n";
  if (!report.facts.empty()) {
    begin_section(html, facts_section);
    append_facts(html, report.facts);
    html += "</section>\n";
  }
  if (!report.verdicts.empty()) {
    begin_section(html, verdicts_section);
    append_verdicts(html, report.verdicts);
    html += "</section>\n";
  }
  if (!report.figures.empty()) {
    begin_section(html, figures_section);
    html += no_script;
    for (const Figure& figure : report.figures) append_figure(html, figure);
    html += "</section>\n";
  }
  if (!report.choices.empty()) {
    begin_section(html, choices_section);
    append_list(html, report.choices);
    html += "</section>\n";
  }
  if (!report.command.empty()) {
    begin_section(html, command_section);
    append_command(html, report.command);
    html += "</section>\n";
  }
  html += "</main>\n";
  if (!report.provenance.empty()) {
    html += "<footer>\n";
    begin_section(html, provenance_section);
    append_facts(html, report.provenance);
    html += "</section>\n</footer>\n";
  }
  if (!report.figures.empty()) {
    append(html, "<script>\n/*\n{}*/\n{}\n</script>\n", embedded::licenses_txt,
           embedded::vega_min_js);
    append_script(html, embedded::vega_lite_min_js);
    append_script(html, embedded::vega_embed_min_js);
    append_script(html, embedded::page_js);
  }
  html += "</body>\n</html>\n";
  return html;
}

}  // namespace fathom
