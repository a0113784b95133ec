// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/image_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <limits>

#include "net/base/open_file.h"

namespace tapir::vmm::boot {

Result<ImageFile> ImageFile::open(const std::string& option, const std::string& path) {
  // O_NONBLOCK: a FIFO without a writer would hold tapir here for ever. It changes nothing for regular files.
  auto opened = open_file(path, O_RDONLY | O_NONBLOCK);
  if (!opened) {
    std::string message = fmt::format("{} {}", option, opened.error().message());
    return fail(std::move(message), opened.error().code());
  }
  ImageFile file(*std::move(opened), fmt::format("{} {}", option, path));
  struct stat status {};
  if (::fstat(file.fd_.get(), &status) != 0) {
    return fail_errno(file.label_);
  }
  if (S_ISDIR(status.st_mode)) {
    return fail(fmt::format("{} is a directory, not a file", file.label_));
  }
  if (!S_ISREG(status.st_mode)) {
    return fail(fmt::format("{} is not a regular file; copy it into one", file.label_));
  }
  return file;
}

Result<std::uint64_t> ImageFile::size() const {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) {
    return fail_errno(label_);
  }
  if (status.st_size <= 0) {
    return fail(fmt::format("{} is empty", label_));
  }
  return static_cast<std::uint64_t>(status.st_size);
}

Status ImageFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  std::size_t done = 0;
  while (done < into.size()) {
    const std::uint64_t position = offset + done;
    if (position < offset || position > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) {
      return fail(fmt::format("{} has no byte {}", label_, offset));
    }
    const ssize_t bytes =
        ::pread(fd_.get(), into.data() + done, into.size() - done, static_cast<off_t>(position));
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes < 0) {
      return fail_errno(label_);
    }
    if (bytes == 0) {
      return fail(fmt::format("{} is truncated: it ends at byte {} and should go on to {}", label_, position,
                              offset + into.size()));
    }
    done += static_cast<std::size_t>(bytes);
  }
  return {};
}

Result<BootFiles> BootFiles::open(const std::string& kernel_path, const std::vector<std::string>& initrds) {
  TAPIR_TRY_ASSIGN(ImageFile kernel, ImageFile::open("-kernel", kernel_path));
  BootFiles files{std::move(kernel), {}, kernel_path};
  for (const std::string& text : initrds) {
    auto whole = ImageFile::open("-initrd", text);
    const std::size_t blank = text.find(' ');
    const bool has_arguments = !whole && whole.error().code() == ENOENT && blank != std::string::npos;
    if (has_arguments) {
      whole = ImageFile::open("-initrd", text.substr(0, blank));
    }
    TAPIR_TRY_ASSIGN(ImageFile file, std::move(whole));
    files.initrds.push_back({std::move(file), text, has_arguments});
  }
  return files;
}

}  // namespace tapir::vmm::boot
