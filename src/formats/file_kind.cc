#include "formats/file_kind.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

namespace fathom {
namespace {

struct Signature {
  std::string_view bytes;
  std::string_view kind;
};

constexpr std::array<Signature, 13> signatures{{
    {"GGUF", "a GGUF file"},
    {"FUGG", "a GGUF file with its magic reversed"},
    {"PK\x03\x04", "a zip archive (PyTorch checkpoints are zip archives)"},
    {"tjgg", "a GGJT file, from before GGUF"},
    {"lmgg", "a GGML file, from before GGUF"},
    {"fmgg", "a GGMF file, from before GGUF"},
    {"version https://git-lfs", "a Git LFS pointer: the file itself was not fetched"},
    {"\x89HDF", "an HDF5 file"},
    {"\x1f\x8b", "a gzip file"},
    {"\x80\x02", "a Python pickle (older PyTorch checkpoints are pickles)"},
    {"<!", "an HTML page"},
    {"<html", "an HTML page"},
    {"{", "a JSON file"},
}};

// A safetensors file starts with the length of its header, 8 bytes, and the header is an object.
bool is_safetensors(std::string_view text) {
  return text.size() > 8 && text[8] == '{' && text[5] == '\0' && text[6] == '\0' && text[7] == '\0';
}

}  // namespace

std::string describe_file_kind(std::span<const std::byte> bytes) {
  if (bytes.empty()) return "an empty file";
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (is_safetensors(text)) return "a safetensors file";
  for (const Signature& signature : signatures) {
    if (text.starts_with(signature.bytes)) return std::string(signature.kind);
  }
  const std::string_view start = text.substr(0, 8);
  if (std::ranges::all_of(start, [](char c) { return c == '\0'; })) {
    return "a file that starts with zeros (an unfinished download?)";
  }
  std::string hex;
  for (const char c : start) hex += fmt::format(" {:02x}", static_cast<unsigned char>(c));
  return "a file that starts with the bytes" + hex;
}

}  // namespace fathom
