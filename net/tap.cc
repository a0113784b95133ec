// SPDX-License-Identifier: Apache-2.0
#include "net/tap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "net/base/log.h"
#include "net/interface_name.h"
#include "net/macvtap.h"
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

// What TUNSETIFF is asked for.
Result<int> attach_flags(int fd, const TapOptions& options) {
  const bool has_vnet_header = kernel_has_vnet_header(fd);
  if (options.vnet_header == true && !has_vnet_header) {
    return fail("vnet_hdr=on: this kernel's taps have no vnet header; leave it out", EOPNOTSUPP);
  }
  return IFF_TAP | IFF_NO_PI | (options.vnet_header.value_or(has_vnet_header) ? IFF_VNET_HDR : 0) |
         (options.multi_queue ? IFF_MULTI_QUEUE : 0);
}

// `name` becomes what the tap is called.
int try_attach(int fd, std::string& name, int flags) {
  ifreq request{};
  name.copy(request.ifr_name, kMaxInterfaceNameBytes);
  request.ifr_flags = static_cast<short>(flags);
  if (::ioctl(fd, TUNSETIFF, &request) < 0) {
    return errno;
  }
  name = request.ifr_name;
  return 0;
}

Status set_vnet_header(int fd, const std::string& name) {
  // Both may be the tap's, not the descriptor's: an earlier user may have left other values on a persistent
  // tap.
  int size = kVnetHeaderBytes;
  int little_endian = 1;
  if (::ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ::ioctl(fd, TUNSETVNETLE, &little_endian) < 0) {
    return fail_errno(fmt::format("cannot set the vnet header of tap '{}'; try vnet_hdr=off", name));
  }
  return {};
}

Status set_send_buffer(int fd, const std::string& name, std::uint64_t bytes) {
  const int value = bytes == 0 ? INT_MAX : static_cast<int>(std::min<std::uint64_t>(bytes, INT_MAX));
  if (::ioctl(fd, TUNSETSNDBUF, &value) < 0) {
    return fail_errno(
        fmt::format("cannot set the send buffer of tap '{}' to sndbuf={}; leave it out", name, bytes));
  }
  return {};
}

Result<UniqueFd> open_device(const std::string& device) {
  return device == kTunDevice ? open_tun_device(O_NONBLOCK) : open_tap_device(device);
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

Status set_queue(int fd, int flag, const char* verb) {
  ifreq request{};
  request.ifr_flags = static_cast<short>(flag);
  if (::ioctl(fd, TUNSETQUEUE, &request) < 0) {
    return fail_errno(fmt::format("fd={}: cannot {} this queue of a multi-queue tap", fd, verb));
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

Status Tap::set_up(bool vnet_header, std::optional<std::uint64_t> send_buffer) {
  features_.vnet_header = vnet_header;
  if (vnet_header) {
    TAPIR_TRY(set_vnet_header(fd_.get(), name_));
    features_.offloads = probe_offloads(fd_.get());
  }
  // No driver is there yet, and the last one's offloads may still be set.
  if (::ioctl(fd_.get(), TUNSETOFFLOAD, 0) < 0) {
    return fail_errno(fmt::format("cannot turn off the offloads of tap '{}'", name_));
  }
  if (is_macvtap(fd_.get())) {
    TAPIR_TRY_ASSIGN(required_mac_, tap_address(fd_.get()));
  }
  return send_buffer ? set_send_buffer(fd_.get(), name_, *send_buffer) : Status();
}

bool Tap::is_up() const {
  // Of a macvtap in another network namespace nobody can know.
  return required_mac_ && is_interface_of(fd(), name_) ? interface_is_up(name_) : tap_is_up(fd());
}

Result<Tap> Tap::attach(const std::string& name, const TapOptions& options) {
  std::string device = options.device;
  if (!name.empty()) {
    TAPIR_TRY(check_interface_name(name));
    if (device == kTunDevice) {
      device = macvtap_node(name).value_or(device);
    }
  }
  TAPIR_TRY_ASSIGN(UniqueFd fd, open_device(device));
  TAPIR_TRY_ASSIGN(const int flags, attach_flags(fd.get(), options));
  auto tap = is_macvtap(fd.get()) ? attach_macvtap(std::move(fd), name, flags)
                                  : attach_tun(std::move(fd), name, flags);
  if (tap) {
    tap->device_ = device;
    tap->send_buffer_ = options.send_buffer;
    TAPIR_TRY(tap->set_up((flags & IFF_VNET_HDR) != 0, options.send_buffer));
  }
  return tap;
}

Result<Tap> Tap::attach_macvtap(UniqueFd fd, const std::string& name, int flags) {
  ifreq present{};
  if (::ioctl(fd.get(), TUNGETIFF, &present) < 0) {
    return fail_errno("cannot ask the macvtap for its name");
  }
  std::string found = present.ifr_name;
  if (!name.empty() && name != found) {
    return fail(
        fmt::format("this is the device of macvtap '{}', not of '{}'; leave out ifname= or correct it", found,
                    name),
        EINVAL);
  }
  // A queue that is opened is attached: this only says how frames look.
  if (const int code = try_attach(fd.get(), found, flags); code != 0) {
    return fail_errno(fmt::format("cannot set up macvtap '{}'", found), code);
  }
  Tap tap(std::move(fd), std::move(found));
  tap.flags_ = flags;
  return tap;
}

Result<Tap> Tap::attach_tun(UniqueFd fd, const std::string& name, int flags) {
  const bool existed = !name.empty() && interface_exists(name);
  std::string found = name;
  int code = try_attach(fd.get(), found, flags);
  if (code == EINVAL && (flags & IFF_MULTI_QUEUE) == 0) {
    // A multi-queue tap refuses to be opened as if it had one queue, and says only EINVAL.
    flags |= IFF_MULTI_QUEUE;
    code = try_attach(fd.get(), found, flags);
  } else if (code == EINVAL && existed && try_attach(fd.get(), found, flags & ~IFF_MULTI_QUEUE) == 0) {
    return fail(
        fmt::format("tap '{0}' has one queue only; leave out queues=, or make it anew with `ip tuntap "
                    "add dev {0} mode tap user {1} multi_queue`",
                    name, ::geteuid()),
        EINVAL);
  }
  if (code != 0) {
    return tl::unexpected(explain_attach(name.empty() ? "tap%d" : name, existed, code));
  }
  Tap tap(std::move(fd), std::move(found));
  tap.created_ = !existed;
  tap.flags_ = flags;
  return tap;
}

Status Tap::make_ready() {
  if (created_) {
    TAPIR_TRY(bring_interface_up(name_));
  } else if (!is_up()) {
    return fail(fmt::format("tap '{0}' is down; bring it up with `ip link set {0} up`", name_), ENETDOWN);
  }
  if (is_interface_of(fd(), name_)) {
    features_.mtu = interface_mtu(name_);
    if (required_mac_ && !interface_is_running(name_)) {
      log(LogLevel::kWarning,
          fmt::format("the network card under macvtap '{}' has no link, so no frame passes now", name_));
    }
  }
  return {};
}

Result<Tap> Tap::open(const std::string& name, const TapOptions& options) {
  TAPIR_TRY_ASSIGN(Tap tap, attach(name, options));
  TAPIR_TRY(tap.make_ready());
  return tap;
}

Result<UniqueFd> Tap::open_queue() const {
  TAPIR_TRY_ASSIGN(UniqueFd fd, open_device(device_));
  std::string name = name_;
  if (const int code = try_attach(fd.get(), name, flags_); code != 0) {
    return fail_errno(fmt::format("cannot open another queue of tap '{}'; ask for fewer queues", name_),
                      code);
  }
  if (features_.vnet_header) {
    TAPIR_TRY(set_vnet_header(fd.get(), name_));
  }
  if (send_buffer_) {
    TAPIR_TRY(set_send_buffer(fd.get(), name_, *send_buffer_));
  }
  return fd;
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
  if (auto status = tap.set_up(vnet_header, options.send_buffer); !status) {
    static_cast<void>(tap.fd_.release());  // on failure it stays the caller's
    return tl::unexpected(std::move(status).error());
  }
  if (!tap.is_up()) {
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
  return set_queue(fd, IFF_DETACH_QUEUE, "detach");
}

Status Tap::attach_queue(int fd) {
  return set_queue(fd, IFF_ATTACH_QUEUE, "attach");
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
