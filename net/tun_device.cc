// SPDX-License-Identifier: Apache-2.0
#include "net/tun_device.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "net/base/open_file.h"

namespace tapir::net {
namespace {

Error explain(int code) {
  switch (code) {
    case ENOENT:
    case ENXIO:
    case ENODEV:
      return Error(
          "/dev/net/tun does not exist, so there are no taps; load the driver with `modprobe tun`, or give "
          "the "
          "container this device",
          code);
    case EACCES:
    case EPERM:
      return Error(
          "uid " + std::to_string(::geteuid()) +
              " may not open /dev/net/tun; allow it with `chmod 0666 /dev/net/tun` (using a tap still takes "
              "its ownership)",
          code);
    default:
      return fail_errno("cannot open /dev/net/tun", code).value();
  }
}

}  // namespace

Result<UniqueFd> open_tun_device(int flags) {
  auto fd = open_file(kTunDevice, O_RDWR | flags);
  if (!fd) {
    return tl::unexpected(explain(fd.error().code()));
  }
  return fd;
}

}  // namespace tapir::net
