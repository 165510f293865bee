#pragma once

namespace fathom {

/// What to do with the text of special tokens ("<|im_end|>") inside a text to encode.
enum class SpecialTokens {
  recognize,  ///< it becomes the special token
  as_text,    ///< it is text like any other
};

}  // namespace fathom
