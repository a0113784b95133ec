// SPDX-License-Identifier: Apache-2.0
#include "helper/read_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace tapir::helper {

Result<std::string> read_file(int fd, std::size_t max_bytes) {
  constexpr std::size_t kFirstBytes = 4096;
  std::string text;
  std::size_t filled = 0;
  while (true) {
    if (filled == text.size()) {
      // One byte more than is allowed tells a file that is too long from one that just fits.
      text.resize(std::min(max_bytes + 1, std::max(kFirstBytes, 2 * filled)));
    }
    const ssize_t count = ::read(fd, text.data() + filled, text.size() - filled);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return fail_errno("cannot be read");
    }
    if (count == 0) {
      text.resize(filled);
      return text;
    }
    filled += static_cast<std::size_t>(count);
    if (filled > max_bytes) {
      return fail("is longer than " + std::to_string(max_bytes) + " bytes");
    }
  }
}

}  // namespace tapir::helper
