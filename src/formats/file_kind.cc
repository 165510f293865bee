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

// A pickle of protocol 2 of an integer of 10 bytes.
constexpr std::string_view legacy_torch_magic =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

constexpr std::array<Signature, 14> signatures{{
    {"GGUF", "a GGUF file"},
    {"FUGG", "a GGUF file with its magic reversed"},
    {"PK\x03\x04", "a zip archive"},
    {"tjgg", "a GGJT file, from before GGUF"},
    {"lmgg", "a GGML file, from before GGUF"},
    {"fmgg", "a GGMF file, from before GGUF"},
    {"version https://git-lfs", "a Git LFS pointer: the file itself was not fetched"},
    {"\x89HDF", "an HDF5 file"},
    {"\x1f\x8b", "a gzip file"},
    {legacy_torch_magic, "a PyTorch checkpoint in the format from before PyTorch 1.6"},
    {"\x80\x02", "a Python pickle"},
    {"<!", "an HTML page"},
    {"<html", "an HTML page"},
    {"{", "a JSON file"},
}};

// A safetensors file starts with the length of its header, 8 bytes, and the header is an object.
bool is_safetensors(std::string_view text) {
  return text.size() > 8 && text[8] == '{' && text[5] == '\0' && text[6] == '\0' && text[7] == '\0';
}

// torch.save writes a zip archive whose first entry is NAME/data.pkl. Its name stands at byte 30.
bool is_torch_checkpoint(std::string_view text) {
  constexpr std::string_view pickle = "/data.pkl";
  if (text.size() < 30 || !text.starts_with("PK\x03\x04")) return false;
  const std::size_t length = static_cast<unsigned char>(text[26]);  // of short names, as it is
  return text.substr(30, length).ends_with(pickle);
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::string describe_file_kind(std::span<const std::byte> bytes) {
  if (bytes.empty()) return "an empty file";
  const std::string_view text = text_of(bytes);
  if (is_safetensors(text)) return "a safetensors file";
  if (is_torch_checkpoint(text)) {
    return "a PyTorch checkpoint (to use it, give the model's folder, with the file as "
           "pytorch_model.bin)";
  }
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

bool is_legacy_torch_checkpoint(std::span<const std::byte> bytes) {
  return text_of(bytes).starts_with(legacy_torch_magic);
}

}  // namespace fathom
