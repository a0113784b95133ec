// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "net/base/result.h"
#include "net/base/unique_fd.h"

namespace tapir::vmm::boot {

/// A kernel or initrd file, opened once and read again at every boot of the guest. It is never mapped: a file
/// that shrinks under a mapping would end tapir by SIGBUS, while a short read is an error like any other.
/// Nothing that was read before is trusted later, the size included. Any one thread at a time.
class ImageFile {
 public:
  /// Adopts an open file. `label` begins every error: the option and its argument.
  ImageFile(UniqueFd fd, std::string label) : fd_(std::move(fd)), label_(std::move(label)) {}

  /// Error: "OPTION PATH: No such file or directory", or that it is a directory or another special file.
  [[nodiscard]] static Result<ImageFile> open(const std::string& option, const std::string& path);

  /// Bytes in the file now. Error: it is empty.
  [[nodiscard]] Result<std::uint64_t> size() const;
  /// Reads exactly into.size() bytes. Error: the file ends before.
  [[nodiscard]] Status read(std::uint64_t offset, std::span<std::byte> into) const;

  /// For example "-kernel vmlinuz".
  const std::string& label() const { return label_; }

 private:
  UniqueFd fd_;
  std::string label_;
};

/// The files that a guest boots from, open for its whole run, so that a reboot works also when the sandbox or
/// a package upgrade has put their paths out of reach.
struct BootFiles {
  /// A file that a Linux kernel gets as a part of its initrd, and a multiboot kernel as a module.
  struct Initrd {
    ImageFile file;
    std::string text;            ///< as the operator wrote it: the path and, behind a blank, arguments
    bool has_arguments = false;  ///< which only a multiboot module may have
  };
  ImageFile kernel;
  std::vector<Initrd> initrds;
  std::string kernel_path;  ///< the first word of a multiboot kernel's command line

  /// `initrds` are paths, each with arguments behind its first blank unless a file has the whole text as its
  /// name. Only opens: what the files hold is checked by load().
  [[nodiscard]] static Result<BootFiles> open(const std::string& kernel_path,
                                              const std::vector<std::string>& initrds);
};

}  // namespace tapir::vmm::boot
