// SPDX-License-Identifier: Apache-2.0
#include "net/tap_interface.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>

#include "net/base/open_file.h"
#include "net/base/parse.h"
#include "net/base/unique_fd.h"

namespace tapir::net {
namespace {

// Any socket will do for the requests of netdevice(7); this family exists in every kernel.
UniqueFd request_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

ifreq request_for(const std::string& name) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

// A number of /sys/class/net/NAME/FILE: owner and group are -1, so no number, when they are not set.
std::optional<std::uint64_t> read_attribute(const std::string& name, std::string_view file) {
  const auto fd = open_file(fmt::format("/sys/class/net/{}/{}", name, file), O_RDONLY);
  std::array<char, 32> text;
  const ssize_t size = fd ? ::read(fd->get(), text.data(), text.size()) : -1;
  if (size <= 0) {
    return std::nullopt;
  }
  std::string_view digits(text.data(), static_cast<std::size_t>(size));
  if (digits.ends_with('\n')) {
    digits.remove_suffix(1);
  }
  return parse_unsigned(digits);
}

// 0 when there is no such interface.
int interface_flags(const std::string& name) {
  const UniqueFd socket = request_socket();
  ifreq request = request_for(name);
  return ::ioctl(socket.get(), SIOCGIFFLAGS, &request) < 0 ? 0 : request.ifr_flags;
}

std::string explain_ownership(const std::string& name) {
  const auto owner = read_attribute(name, "owner");
  const auto group = read_attribute(name, "group");
  const uid_t user = ::geteuid();
  const std::string remedy = fmt::format(
      "run as its owner, or make it anew with `ip tuntap del dev {0} mode tap` and "
      "`ip tuntap add dev {0} mode tap user {1}`",
      name, user);
  if (owner && *owner != user) {
    return fmt::format("tap '{}' belongs to uid {} and this is uid {}; {}", name, *owner, user, remedy);
  }
  if (group) {
    return fmt::format("tap '{}' is for members of group {} only, and uid {} is none of them; {}", name,
                       *group, user, remedy);
  }
  return fmt::format("tap '{}' belongs to another user than uid {}; {}", name, user, remedy);
}

}  // namespace

bool interface_exists(const std::string& name) {
  return ::if_nametoindex(name.c_str()) != 0;
}

std::uint16_t interface_mtu(const std::string& name) {
  const UniqueFd socket = request_socket();
  ifreq request = request_for(name);
  if (::ioctl(socket.get(), SIOCGIFMTU, &request) < 0 || request.ifr_mtu < 0 ||
      request.ifr_mtu > UINT16_MAX) {
    return 0;
  }
  return static_cast<std::uint16_t>(request.ifr_mtu);
}

Status bring_interface_up(const std::string& name) {
  const UniqueFd socket = request_socket();
  ifreq request = request_for(name);
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) < 0) {
    return fail_errno(fmt::format("cannot read the flags of tap '{}'", name));
  }
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0) {
    return fail_errno(fmt::format("cannot bring up tap '{}'", name));
  }
  return {};
}

bool is_interface_of(int fd, const std::string& name) {
  // A tap answers this request for itself; the same address under the same name is the same interface.
  const UniqueFd socket = request_socket();
  ifreq of_tap{};
  ifreq of_name = request_for(name);
  return ::ioctl(fd, SIOCGIFHWADDR, &of_tap) == 0 && ::ioctl(socket.get(), SIOCGIFHWADDR, &of_name) == 0 &&
         std::memcmp(of_tap.ifr_hwaddr.sa_data, of_name.ifr_hwaddr.sa_data, 6) == 0;
}

bool tap_is_up(int fd) {
  pollfd writable{fd, POLLOUT, 0};
  return ::poll(&writable, 1, 0) == 1 && (writable.revents & POLLOUT) != 0;
}

bool interface_is_up(const std::string& name) {
  return (interface_flags(name) & IFF_UP) != 0;
}

bool interface_is_running(const std::string& name) {
  return (interface_flags(name) & IFF_RUNNING) != 0;
}

Error explain_attach(const std::string& name, bool existed, int code) {
  switch (code) {
    case EBUSY:
      return Error(
          fmt::format("tap '{}' is in use by another process; end that one, or give each VM a tap of its own",
                      name),
          code);
    case EPERM:
      if (existed) {
        return Error(explain_ownership(name), code);
      }
      return Error(fmt::format("there is no tap '{0}', and making one takes CAP_NET_ADMIN; create it with "
                               "`ip tuntap add dev {0} mode tap user {1}` and `ip link set {0} up`",
                               name, ::geteuid()),
                   code);
    case EINVAL:
      if (existed) {
        return Error(
            fmt::format(
                "interface '{0}' is no tap (it may be a bridge, a tun or a network card); name a tap, for "
                "example one made with `ip tuntap add dev tap0 mode tap user {1}`",
                name, ::geteuid()),
            code);
      }
      break;
    default:
      break;
  }
  return fail_errno(fmt::format("cannot attach to tap '{}'", name), code).value();
}

}  // namespace tapir::net
