#include "text/encoder.h"

#include <cstdint>
#include <utility>

#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace fathom {

std::vector<TokenId> Encoder::encode(std::string_view text, SpecialTokens special) {
  std::vector<Section> sections;
  data_.added.cut(text, special, sections);
  for (const Section& section : sections) {
    if (section.token) {
      tokens_.push_back(*section.token);
      continue;
    }
    const TextPlace place =
        section.text.data() == text.data() ? TextPlace::start : TextPlace::inside;
    if (data_.normalizer.changes_nothing()) {
      encode_normalized(section.text, special, place);
    } else {
      encode_normalized(data_.normalizer.apply(section.text), special, place);
    }
  }
  return std::move(tokens_);
}

void Encoder::encode_normalized(std::string_view text, SpecialTokens special, TextPlace place) {
  std::vector<Section> sections;
  data_.added_normalized.cut(text, special, sections);
  for (const Section& section : sections) {
    if (section.token) {
      tokens_.push_back(*section.token);
      continue;
    }
    const bool at_front = section.text.data() == text.data();
    const TextPlace section_place = at_front ? place : TextPlace::inside;
    for (const std::string_view word : cutter_.cut(section.text, section_place)) encode_word(word);
  }
}

void Encoder::encode_word(std::string_view word) {
  const bool bytes = data_.alphabet == TokenizerParts::Alphabet::bytes;
  if (data_.whole_words == TokenizerParts::WholeWords::look_up_first) {
    characters_.clear();
    if (bytes) append_as_characters(characters_, word);
    if (const auto whole = data_.find_in_model(bytes ? characters_ : word)) {
      tokens_.push_back(*whole);
      return;
    }
  }
  bytes ? add_bytes(word) : add_characters(word);
  end_unknown();
  merge();
}

void Encoder::add_bytes(std::string_view word) {
  for (const char byte : word) {
    const auto& token = data_.token_of_byte[static_cast<std::uint8_t>(byte)];
    if (token) {
      end_unknown();
      symbols_.push_back(*token);
    } else {
      add_unknown();
    }
  }
}

void Encoder::add_characters(std::string_view word) {
  for (std::size_t i = 0; i < word.size();) {
    const Utf8Unit unit = first_character(word.substr(i));
    const std::string_view character = word.substr(i, unit.bytes);
    const auto token = unit.character < data_.token_of_ascii.size()
                           ? data_.token_of_ascii[unit.character]
                           : data_.find_in_model(character);
    if (token) {
      end_unknown();
      add(*token, {unit.character, unit.character});
    } else if (!add_byte_tokens(character)) {
      add_unknown();
    }
    i += unit.bytes;
  }
}

bool Encoder::add_byte_tokens(std::string_view character) {
  for (const char byte : character) {
    if (!data_.token_of_byte[static_cast<std::uint8_t>(byte)]) return false;
  }
  // An unknown token that waits goes on waiting, as in Hugging Face's tokenizers.
  for (const char byte : character) {
    add(*data_.token_of_byte[static_cast<std::uint8_t>(byte)], {U'<', U'>'});
  }
  return true;
}

void Encoder::add_unknown() {
  if (!data_.unknown) return;
  if (data_.unknown_runs == TokenizerParts::Unknown::Runs::one_each) end_unknown();
  unknown_waits_ = true;
}

void Encoder::end_unknown() {
  if (!unknown_waits_) return;
  unknown_waits_ = false;
  const std::string_view text = data_.texts[*data_.unknown];
  add(*data_.unknown, {first_character(text).character, last_character(text).character});
}

void Encoder::add(TokenId token, Ends ends) {
  // A text may be one long word. What lies before a place that no merge can join is merged by
  // itself.
  if (!symbols_.empty() && data_.alphabet == TokenizerParts::Alphabet::characters &&
      !data_.joints.contains(last_character_, ends.first)) {
    merge();
  }
  symbols_.push_back(token);
  last_character_ = ends.last;
}

void Encoder::merge() {
  merger_.merge(data_.merges, symbols_);
  tokens_.insert(tokens_.end(), symbols_.begin(), symbols_.end());
  symbols_.clear();
}

}  // namespace fathom
