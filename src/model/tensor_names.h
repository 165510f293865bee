#pragma once

#include <string_view>

#include "model/model_config.h"

namespace fathom {

/// The names of a family in one kind of file, without ".weight" and ".bias"; {} stands for the
/// layer, from 0. What a family lacks stays empty.
struct TensorNames {
  std::string_view prefix;  ///< of all but the head; base models are stored without
  std::string_view embedding, positions, project_in, project_out, output_norm, head;
  std::string_view attention_norm, query, key, value, query_norm, key_norm;
  std::string_view query_key_value;  ///< where the three are one tensor
  std::string_view attention_output, attention_output_norm;
  std::string_view ffn_norm, gate, up, down, ffn_output_norm;
  bool inputs_first = false;  ///< linear maps are stored as [inputs][outputs]
};

/// Those of Hugging Face's folders, which are also the paths of transformers' modules.
TensorNames hugging_face_names(ModelFamily family);

}  // namespace fathom
