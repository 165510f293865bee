#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "data/prompt_template.h"

namespace fathom {

/// The shapes of rows that are read, as messages and help name them.
inline constexpr std::string_view row_shapes =
    "{prompt, response}, {instruction, input, output}, {instruction, context, response} or "
    "{id, article, highlights}";

/// What a row asks for, which decides the prompt of a model without a chat template.
enum class ExampleKind {
  plain,    ///< {prompt, response}: whatever the prompt says
  alpaca,   ///< an instruction, with or without an input: Alpaca's {instruction, input, output} and
            ///< Dolly's {instruction, context, response}, which are the same by other names
  article,  ///< CNN/DailyMail's {id, article, highlights}: a summary of the article
};

std::string_view name(ExampleKind kind);

/// One row of a data set.
struct Example {
  ExampleKind kind = ExampleKind::plain;
  std::string id;           ///< the row's "id" if it has one, else its line's number
  std::string instruction;  ///< for an article a request of ours, since the row has none
  std::string input;        ///< what the instruction is about; often empty
  std::string response;     ///< the reference answer
};

/// What to read of rows that have none of the row_shapes.
struct ExampleFields {
  PromptTemplate prompt;
  std::string response;  ///< the field with the reference answer
};

/// Reads JSON Lines: one object a line, each of any of the row_shapes, so that a file may mix them.
/// "id", "input" and "context" may be absent; other fields and empty lines are ignored. Reads at
/// most `limit` rows. Throws FileError that names the line, and the field if there is one to name,
/// if one is no such object.
std::vector<Example> read_examples(const std::filesystem::path& path,
                                   std::size_t limit = std::numeric_limits<std::size_t>::max());
/// The same of rows with other fields, which become plain examples.
std::vector<Example> read_examples(const std::filesystem::path& path, const ExampleFields& fields,
                                   std::size_t limit = std::numeric_limits<std::size_t>::max());

/// What a person would say to a chat model: the instruction, then the input after an empty line.
/// For an article the instruction is "Summarize the following article in a few short sentences.",
/// which is ours: [Glavas24] has no chat models.
std::string user_message(const Example& example);

/// The prompt for a model without a chat template. A {prompt, response} row is taken as it is; an
/// instruction gets "### Instruction:", "### Input:" if it has one, and "### Response:" after a
/// sentence that says so, an article "### Article:" and "### Summary:", as in the program of
/// [Glavas24].
std::string plain_prompt(const Example& example);

}  // namespace fathom
