// SPDX-License-Identifier: Apache-2.0
#include "net/macvtap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <linux/major.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "net/base/open_file.h"

namespace tapir::net {
namespace {

constexpr unsigned kTunMinor = 200;  // Documentation/admin-guide/devices.txt

Error explain_open(const std::string& path, int code) {
  switch (code) {
    case ENOENT:
      return Error(fmt::format("'{0}' does not exist; the node of a macvtap is /dev/tap and the number in "
                               "/sys/class/net/NAME/ifindex; where udev does not make it, do so with "
                               "`mknod {0} c MAJOR MINOR`, the numbers being those in "
                               "/sys/class/net/NAME/tap*/dev",
                               path),
                   code);
    case ENXIO:
    case ENODEV:
      return Error(
          fmt::format("the macvtap of '{}' does not exist any more; make it anew with `ip link add link CARD "
                      "name NAME type macvtap`, and name its new node",
                      path),
          code);
    case EACCES:
    case EPERM:
      return Error(
          fmt::format("uid {0} may not open '{1}'; allow it with `chown {0} {1}` or a udev rule for it",
                      ::geteuid(), path),
          code);
    case EBUSY:
      return Error(fmt::format("'{}' is in use by as many processes as it can serve; end one of them", path),
                   code);
    default:
      return fail_errno(fmt::format("cannot open '{}'", path), code).value();
  }
}

Error no_tap_device(const std::string& path) {
  return Error(fmt::format("'{}' is no tap device; name the node of a macvtap (/dev/tap and its interface's "
                           "index) or /dev/net/tun",
                           path),
               ENOTTY);
}

bool is_character_device(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISCHR(status.st_mode);
}

}  // namespace

std::optional<std::string> macvtap_node(const std::string& name) {
  const unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) {
    return std::nullopt;
  }
  // The node alone proves nothing: another network namespace may have a macvtap of the same index.
  const std::string node = fmt::format("tap{}", index);
  if (::access(fmt::format("/sys/class/net/{}/{}", name, node).c_str(), F_OK) < 0) {
    return std::nullopt;
  }
  return "/dev/" + node;
}

Result<UniqueFd> open_tap_device(const std::string& path) {
  // Another kind of device may do things when it is opened.
  if (::access(path.c_str(), F_OK) == 0 && !is_character_device(path)) {
    return tl::unexpected(no_tap_device(path));
  }
  auto fd = open_file(path, O_RDWR | O_NONBLOCK | O_NOCTTY);
  if (!fd) {
    return tl::unexpected(explain_open(path, fd.error().code()));
  }
  ifreq request{};
  // The tun driver's answer when no tap is attached yet.
  if (::ioctl(fd->get(), TUNGETIFF, &request) < 0 && errno != EBADFD) {
    return tl::unexpected(no_tap_device(path));
  }
  return fd;
}

bool is_macvtap(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && status.st_rdev != makedev(MISC_MAJOR, kTunMinor);
}

Result<MacAddress> tap_address(int fd) {
  ifreq request{};
  if (::ioctl(fd, SIOCGIFHWADDR, &request) < 0) {
    return fail_errno("cannot ask for the address of the tap");
  }
  MacAddress address;
  std::copy_n(request.ifr_hwaddr.sa_data, address.octets.size(), address.octets.begin());
  return address;
}

}  // namespace tapir::net
