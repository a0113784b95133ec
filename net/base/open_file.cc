// SPDX-License-Identifier: Apache-2.0
#include "net/base/open_file.h"

#include <fcntl.h>

namespace tapir {

Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    return fail_errno(path);
  }
  return UniqueFd(fd);
}

}  // namespace tapir
