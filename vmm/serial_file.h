// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "net/base/result.h"
#include "net/base/unique_fd.h"

namespace tapir::vmm {

/// The file of `-serial file:PATH`. Until the guest can run it stays as it was: a start that fails neither
/// empties it nor leaves a new one behind.
///
///     TAPIR_TRY_ASSIGN(auto file, SerialFile::open(path));
///     …                                 // everything else that can fail
///     TAPIR_TRY(file->commit());        // from here on the guest writes to it
///
/// The descriptor is non-blocking: the open file is ours alone, and a FIFO or terminal that is full must not
/// hold whoever writes. Control thread.
class SerialFile {
 public:
  /// Opens the file for writing, or makes it. Error: names the path, and a FIFO that nobody reads as such.
  [[nodiscard]] static Result<std::unique_ptr<SerialFile>> open(const std::string& path);

  SerialFile(const SerialFile&) = delete;
  SerialFile& operator=(const SerialFile&) = delete;
  /// Without commit(), removes the file if open() made it and it is still empty.
  ~SerialFile();

  int fd() const { return fd_.get(); }
  /// Empties the file, and keeps it. What is no regular file has nothing to empty.
  [[nodiscard]] Status commit();

 private:
  SerialFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  UniqueFd fd_;
  std::string path_;
  std::string remove_path_;  ///< what to remove without commit(); empty: nothing
};

}  // namespace tapir::vmm
