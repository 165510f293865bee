#pragma once

#include <string>
#include <vector>

#include "formats/gguf_writer.h"
#include "model/model_config.h"

namespace fathom {

/// Writes a configuration as the keys of its family's architecture, which read_config() reads back
/// (docs/formats.md). `file` is what errors name. Adds to `notes` what llama.cpp does not read, in
/// whole sentences without the full stop. Throws FileError on what no key can say.
void add_gguf_config(GgufHeader& header, const ModelConfig& config, const std::string& file,
                     std::vector<std::string>& notes);

/// What each rotary frequency is divided by, where GGUF files say a scaling in that way: the
/// float32 numbers nearest to the quotients that give back the frequencies to the last bit. Empty
/// where they do not.
std::vector<float> gguf_rotary_divisors(const ModelConfig& config);

}  // namespace fathom
