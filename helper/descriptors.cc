// SPDX-License-Identifier: Apache-2.0
#include "helper/descriptors.h"

#include <linux/close_range.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <string>

namespace tapir::helper {
namespace {

constexpr int kFirst = STDERR_FILENO + 1;

Status close_between(int first, int last) {
  if (first <= last && ::close_range(static_cast<unsigned>(first), static_cast<unsigned>(last), 0) < 0) {
    return fail_errno("cannot close inherited descriptors");
  }
  return {};
}

}  // namespace

Status close_all_but(int kept) {
  if (kept > kFirst) {
    TAPIR_TRY(close_between(kFirst, kept - 1));
  }
  return kept < INT_MAX ? close_between(std::max(kept + 1, kFirst), INT_MAX) : Status{};
}

Status check_receiver(int fd) {
  const std::string argument = "--fd=" + std::to_string(fd);
  int domain = 0;
  int type = 0;
  for (const auto& [option, value] : {std::pair(SO_DOMAIN, &domain), std::pair(SO_TYPE, &type)}) {
    socklen_t size = sizeof *value;
    if (::getsockopt(fd, SOL_SOCKET, option, value, &size) < 0) {
      return fail_errno(argument);
    }
  }
  if (domain != AF_UNIX || (type != SOCK_STREAM && type != SOCK_SEQPACKET)) {
    return fail(argument + ": no unix socket of type stream or seqpacket, as socketpair(2) makes it");
  }
  return {};
}

}  // namespace tapir::helper
