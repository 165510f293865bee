#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

namespace fathom {

/// The two shapes of rows that are read.
enum class ExampleKind {
  plain,   ///< {prompt, response}
  alpaca,  ///< {instruction, input, output}
};

/// One row of a data set.
struct Example {
  ExampleKind kind = ExampleKind::plain;
  std::string id;  ///< the row's "id" if it has one, else its line's number
  std::string instruction;
  std::string input;     ///< what the instruction is about; often empty
  std::string response;  ///< the reference answer
};

/// Reads JSON Lines: objects {prompt, response} or Alpaca's {instruction, input, output}, one a
/// line; other fields are ignored, empty lines too. Reads at most `limit` rows. Throws FileError
/// that names the line if one is no such object.
std::vector<Example> read_examples(const std::filesystem::path& path,
                                   std::size_t limit = std::numeric_limits<std::size_t>::max());

/// What a person would say to a chat model: the instruction, then the input after an empty line.
std::string user_message(const Example& example);

/// The prompt for a model without a chat template. A {prompt, response} row is taken as it is; an
/// Alpaca row gets the sections that such models are fine-tuned on [Taori et al. 2023].
std::string plain_prompt(const Example& example);

}  // namespace fathom
