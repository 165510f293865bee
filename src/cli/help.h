#pragma once

#include <CLI/CLI.hpp>

namespace fathom {

/// How --help shows options: a placeholder and the default, not the checks that CLI11 spells out
/// ("UINT:UINT in [1 - 1073741824]"). What is out of range says its range when it is refused.
class HelpFormatter final : public CLI::Formatter {
 public:
  [[nodiscard]] std::string make_option_opts(const CLI::Option* option) const override;
};

}  // namespace fathom
