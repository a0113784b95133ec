// SPDX-License-Identifier: Apache-2.0
#include "net/tap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <utility>

#include "net/base/log.h"
#include "net/interface_name.h"
#include "net/offload.h"
#include "net/tap_interface.h"
#include "net/tun_device.h"
#include "net/vnet_header.h"

namespace tapir::net {
namespace {

bool kernel_has_vnet_header(int fd) {
  unsigned features = 0;
  return ::ioctl(fd, TUNGETFEATURES, &features) == 0 && (features & IFF_VNET_HDR) != 0;
}

int try_attach(int fd, const std::string& name, int flags) {
  ifreq request{};
  name.copy(request.ifr_name, kMaxInterfaceNameBytes);
  request.ifr_flags = static_cast<short>(flags);
  return ::ioctl(fd, TUNSETIFF, &request) == 0 ? 0 : errno;
}

// One queue of the tap. A multi-queue tap refuses to be opened as if it had one queue, and says only EINVAL.
int attach(int fd, const std::string& name, int flags) {
  const int code = try_attach(fd, name, flags);
  return code == EINVAL ? try_attach(fd, name, flags | IFF_MULTI_QUEUE) : code;
}

// TUNSETOFFLOAD refuses a word with a bit that it does not know, which is how the kernel wants to be asked.
unsigned probe_offloads(int fd) {
  for (const unsigned word : {kAllTunOffloads, kTunOffloadsBeforeUso, unsigned{TUN_F_CSUM}}) {
    if (::ioctl(fd, TUNSETOFFLOAD, word) == 0) {
      return word;
    }
  }
  return 0;
}

Status set_flags(int fd) {
  const int status = ::fcntl(fd, F_GETFL);
  const int descriptor = ::fcntl(fd, F_GETFD);
  if (status < 0 || ::fcntl(fd, F_SETFL, status | O_NONBLOCK) < 0 || descriptor < 0 ||
      ::fcntl(fd, F_SETFD, descriptor | FD_CLOEXEC) < 0) {
    return fail_errno(fmt::format("cannot set the flags of descriptor {}", fd));
  }
  return {};
}

// The name and flags of the tap behind a descriptor of unknown origin.
Result<ifreq> identify(int fd) {
  ifreq request{};
  if (::ioctl(fd, TUNGETIFF, &request) < 0) {
    if (errno == EBADFD) {
      return fail(
          fmt::format(
              "fd={}: /dev/net/tun is open there, but no tap is attached, or it was deleted; attach one "
              "with TUNSETIFF before passing it on",
              fd),
          EBADFD);
    }
    return fail(
        fmt::format("fd={}: this descriptor is no tap; open /dev/net/tun and attach it with TUNSETIFF before "
                    "passing it on",
                    fd),
        errno);
  }
  if ((request.ifr_flags & IFF_TAP) == 0) {
    return fail(
        fmt::format("fd={}: '{}' is a tun, which carries IP packets without Ethernet; pass a tap (IFF_TAP)",
                    fd, request.ifr_name),
        EINVAL);
  }
  // Whether it has packet information cannot be asked: IFF_NOFILTER is the same bit as IFF_NO_PI.
  return request;
}

}  // namespace

Status Tap::set_up(bool vnet_header) {
  features_.vnet_header = vnet_header;
  if (vnet_header) {
    // Both are the tap's, not the descriptor's: an earlier user may have left other values on a persistent
    // tap.
    int size = kVnetHeaderBytes;
    int little_endian = 1;
    if (::ioctl(fd_.get(), TUNSETVNETHDRSZ, &size) < 0 ||
        ::ioctl(fd_.get(), TUNSETVNETLE, &little_endian) < 0) {
      return fail_errno(fmt::format("cannot set the vnet header of tap '{}'; try vnet_hdr=off", name_));
    }
    features_.offloads = probe_offloads(fd_.get());
  }
  // No driver is there yet, and the last one's offloads may still be set.
  if (::ioctl(fd_.get(), TUNSETOFFLOAD, 0) < 0) {
    return fail_errno(fmt::format("cannot turn off the offloads of tap '{}'", name_));
  }
  return {};
}

Result<Tap> Tap::open(const std::string& name, const TapOptions& options) {
  TAPIR_TRY(check_interface_name(name));
  TAPIR_TRY_ASSIGN(UniqueFd fd, open_tun_device(O_NONBLOCK));
  const bool has_vnet_header = kernel_has_vnet_header(fd.get());
  if (options.vnet_header == true && !has_vnet_header) {
    return fail(
        fmt::format("vnet_hdr=on: this kernel's taps have no vnet header; leave it out for tap '{}'", name),
        EOPNOTSUPP);
  }
  const bool vnet_header = options.vnet_header.value_or(has_vnet_header);
  const bool existed = interface_exists(name);
  const int code = attach(fd.get(), name, IFF_TAP | IFF_NO_PI | (vnet_header ? IFF_VNET_HDR : 0));
  if (code != 0) {
    return tl::unexpected(explain_attach(name, existed, code));
  }

  Tap tap(std::move(fd), name);
  tap.created_ = !existed;
  TAPIR_TRY(tap.set_up(vnet_header));
  if (tap.created_) {
    TAPIR_TRY(bring_interface_up(name));
  } else if (!tap_is_up(tap.fd())) {
    return fail(fmt::format("tap '{0}' is down; bring it up with `ip link set {0} up`", name), ENETDOWN);
  }
  tap.features_.mtu = interface_mtu(name);
  return tap;
}

Result<Tap> Tap::adopt(int fd, const TapOptions& options) {
  TAPIR_TRY_ASSIGN(const ifreq request, identify(fd));
  const bool vnet_header = (request.ifr_flags & IFF_VNET_HDR) != 0;
  if (options.vnet_header && *options.vnet_header != vnet_header) {
    return fail(
        fmt::format("vnet_hdr={}: tap '{}' on fd={} was attached {} a vnet header; leave vnet_hdr out",
                    *options.vnet_header ? "on" : "off", request.ifr_name, fd,
                    vnet_header ? "with" : "without"),
        EINVAL);
  }
  TAPIR_TRY(set_flags(fd));
  Tap tap(UniqueFd(fd), request.ifr_name);
  if (auto status = tap.set_up(vnet_header); !status) {
    static_cast<void>(tap.fd_.release());  // on failure it stays the caller's
    return tl::unexpected(std::move(status).error());
  }
  if (!tap_is_up(fd)) {
    log(LogLevel::kWarning,
        fmt::format("tap '{0}' on fd={1} is down; no frame passes before `ip link set {0} up`", tap.name_,
                    fd));
  }
  if (is_interface_of(fd, tap.name_)) {
    tap.features_.mtu = interface_mtu(tap.name_);
  }
  return tap;
}

Status Tap::detach_queue(int fd) {
  ifreq request{};
  request.ifr_flags = IFF_DETACH_QUEUE;
  if (::ioctl(fd, TUNSETQUEUE, &request) < 0) {
    return fail_errno(fmt::format("fd={}: cannot detach this queue of a multi-queue tap", fd));
  }
  return {};
}

Result<Tap> Tap::adopt_inherited(int fd, const TapOptions& options) {
  const int flags = ::fcntl(fd, F_GETFD);
  if (flags < 0 || (flags & FD_CLOEXEC) != 0) {
    return fail_errno(
        fmt::format("fd={}: no descriptor with this number is open here; the program that starts tapir has "
                    "to pass it on",
                    fd),
        EBADF);
  }
  return adopt(fd, options);
}

FramePort Tap::into_port() && {
  return FramePort{std::move(fd_), features_, true};
}

}  // namespace tapir::net
