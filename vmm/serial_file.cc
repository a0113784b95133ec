// SPDX-License-Identifier: Apache-2.0
#include "vmm/serial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "net/base/open_file.h"

namespace tapir::vmm {
namespace {

constexpr int kFlags = O_WRONLY | O_NOCTTY | O_NONBLOCK;

tl::unexpected<Error> open_failure(const std::string& path, Error error) {
  struct stat status {};
  // ENXIO is also what sockets and devices without hardware give.
  if (error.code() == ENXIO && ::stat(path.c_str(), &status) == 0 && S_ISFIFO(status.st_mode)) {
    return fail("-serial file:" + path + ": nobody reads this FIFO; start its reader before tapir", ENXIO);
  }
  return tl::unexpected<Error>(std::move(error).with_context("-serial file"));
}

}  // namespace

Result<std::unique_ptr<SerialFile>> SerialFile::open(const std::string& path) {
  auto fd = open_file(path, kFlags);
  const bool missing = !fd && fd.error().code() == ENOENT;
  if (missing) {
    fd = open_file(path, kFlags | O_CREAT, 0666);
  }
  if (!fd) {
    return open_failure(path, std::move(fd).error());
  }
  std::unique_ptr<SerialFile> file(new SerialFile(*std::move(fd), path));
  if (missing) {
    // Not the path as given, which may lead to the file through symbolic links.
    std::error_code error;
    file->remove_path_ = std::filesystem::canonical(path, error);
  }
  return file;
}

SerialFile::~SerialFile() {
  struct stat ours {};
  struct stat there {};
  // By now the name may belong to another file, and the file to another writer.
  if (!remove_path_.empty() && ::fstat(fd_.get(), &ours) == 0 && ours.st_size == 0 &&
      ::lstat(remove_path_.c_str(), &there) == 0 && ours.st_dev == there.st_dev &&
      ours.st_ino == there.st_ino) {
    ::unlink(remove_path_.c_str());
  }
}

Status SerialFile::commit() {
  struct stat status {};
  if (::fstat(fd_.get(), &status) < 0 || (S_ISREG(status.st_mode) && ::ftruncate(fd_.get(), 0) < 0)) {
    return fail_errno("-serial file: cannot empty " + path_);
  }
  remove_path_.clear();
  return {};
}

}  // namespace tapir::vmm
