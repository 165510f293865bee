#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace fathom {

/// What a person gave cannot be used: a file, an option, a request. The message stands on its own.
/// Programs report it and exit with code 2. Anything else that is thrown is a defect or a failure
/// of the machine.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A file that cannot be used. The message reads "FILE: PLACE: what was found and expected".
/// `place` says where in the file (a key, a tensor's name, a line, an offset); it may be empty.
class FileError : public InputError {
 public:
  FileError(std::string_view file, std::string_view place, std::string_view problem);
};

}  // namespace fathom
