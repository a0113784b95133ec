// SPDX-License-Identifier: Apache-2.0
#include "helper/tap_device.h"

#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <utility>

#include "helper/tap_name.h"
#include "net/tun_device.h"
#include "net/virtio_net_uapi.h"

namespace tapir::helper {
namespace {

// First octet of the addresses of taps.
constexpr std::uint8_t kTapOctet = 0xFE;
constexpr uid_t kRoot = 0;

bool kernel_has_vnet_header(int fd) {
  unsigned features = 0;
  return ::ioctl(fd, TUNGETFEATURES, &features) == 0 && (features & IFF_VNET_HDR) != 0;
}

// Creates or attaches; returns the name, which differs from `name` if that is a template.
Result<std::string> set_interface(int fd, const std::string& name, int flags) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(flags);
  if (::ioctl(fd, TUNSETIFF, &request) < 0) {
    if (errno == EPERM) {
      return fail(
          "making a tap takes CAP_NET_ADMIN, which this program has not: install it setuid root or with "
          "`setcap "
          "cap_net_admin+ep`, on a file system without nosuid, and do not start it under no_new_privs",
          EPERM);
    }
    return fail_errno("cannot make a tap");
  }
  return std::string(request.ifr_name);
}

// The kernel refuses a name that exists, in the same step in which it would give it.
Result<std::string> take_slot(int fd, const TapOptions& options, int flags) {
  const unsigned limit = options.limit->taps;
  if (limit > kMaxTapSlots) {
    return fail("a limit of " + std::to_string(limit) + " taps is more than can be counted; set at most " +
                    std::to_string(kMaxTapSlots),
                EINVAL);
  }
  for (unsigned slot = 0; slot < limit; ++slot) {
    auto name =
        set_interface(fd, slot_name(options.owner, options.limit->bridge_index, slot), flags | IFF_TUN_EXCL);
    if (name || (name.error().code() != EBUSY && name.error().code() != EEXIST)) {
      return name;
    }
  }
  return fail("uid " + std::to_string(options.owner) + " has as many taps on it as its limit of " +
                  std::to_string(limit) + " allows; end one of its guests, or raise the limit",
              EUSERS);
}

}  // namespace

Result<TapDevice> TapDevice::create(const TapOptions& options) {
  TAPIR_TRY_ASSIGN(UniqueFd fd, net::open_tun_device(0));
  const int flags = IFF_TAP | IFF_NO_PI |
                    (options.vnet_header && kernel_has_vnet_header(fd.get()) ? IFF_VNET_HDR : 0) |
                    (options.queues > 1 ? IFF_MULTI_QUEUE : 0);
  TAPIR_TRY_ASSIGN(std::string name, options.limit ? take_slot(fd.get(), options, flags)
                                                   : set_interface(fd.get(), "tap%d", flags));
  return TapDevice(std::move(fd), std::move(name), flags);
}

Status set_tap_owner(int queue, uid_t owner) {
  if (::ioctl(queue, TUNSETOWNER, static_cast<unsigned long>(owner)) < 0) {
    return fail_errno("cannot give the tap to uid " + std::to_string(owner));
  }
  return {};
}

Status TapDevice::claim() {
  const int fd = queues_.front().get();
  TAPIR_TRY(set_tap_owner(fd, kRoot));
  // The kernel has chosen the other octets at random.
  ifreq request{};
  if (::ioctl(fd, SIOCGIFHWADDR, &request) < 0) {
    return fail_errno("cannot read the address of tap '" + name_ + "'");
  }
  std::copy_n(request.ifr_hwaddr.sa_data, address_.octets.size(), address_.octets.begin());
  address_.octets[0] = kTapOctet;
  std::copy(address_.octets.begin(), address_.octets.end(), request.ifr_hwaddr.sa_data);
  if (::ioctl(fd, SIOCSIFHWADDR, &request) < 0) {
    return fail_errno("cannot set the address of tap '" + name_ + "'");
  }
  return {};
}

Status TapDevice::add_queues(unsigned total) {
  while (queues_.size() < total) {
    TAPIR_TRY_ASSIGN(UniqueFd fd, net::open_tun_device(0));
    if (auto name = set_interface(fd.get(), name_, flags_); !name) {
      return tl::unexpected(std::move(name).error().with_context(
          "queue " + std::to_string(queues_.size() + 1) + " of " + std::to_string(total)));
    }
    queues_.push_back(std::move(fd));
  }
  return {};
}

// A descriptor can have found another tap, or have made one, if somebody renamed ours meanwhile.
Status TapDevice::check_queues() const {
  for (const UniqueFd& queue : queues_) {
    ifreq request{};
    if (::ioctl(queue.get(), TUNGETIFF, &request) < 0) {
      return fail_errno("tap '" + name_ + "' was taken away while it was being made; try again");
    }
    if (name_ != request.ifr_name || (request.ifr_flags & IFF_DETACH_QUEUE) != 0) {
      return fail("tap '" + name_ + "' was renamed while it was being made; try again", EAGAIN);
    }
  }
  return {};
}

Result<LinkState> TapDevice::find(Netlink& netlink) const {
  TAPIR_TRY(check_queues());
  auto link = find_link(netlink, name_);
  if (!link) {
    return tl::unexpected(std::move(link).error().with_context("cannot look at tap '" + name_ + "'"));
  }
  TAPIR_TRY(check_queues());
  return link;
}

Result<LinkState> TapDevice::find_any(Netlink& netlink) const {
  ifreq request{};
  if (::ioctl(queues_.front().get(), TUNGETIFF, &request) < 0) {
    return fail_errno("tap '" + name_ + "'");
  }
  return find_link(netlink, request.ifr_name);
}

Status TapDevice::check(const LinkState& link) const {
  if (!link.tun) {
    return fail("this kernel does not tell who uses tap '" + name_ + "'; Linux 4.17 or later is needed",
                ENOTSUP);
  }
  const TunState& tun = *link.tun;
  // Of a tap with one queue, ours, the kernel gives no number.
  const bool only_ours =
      tun.multi_queue ? tun.queues == queues_.size() && tun.disabled_queues == 0 : queues_.size() == 1;
  if (!only_ours || !tun.is_tap || tun.owner != kRoot || tun.group || tun.persistent ||
      link.type != ARPHRD_ETHER || link.name != name_ || link.address != address_) {
    return fail(
        "another process has its hands on every tap that is made here (`fuser -v /dev/net/tun` shows who has "
        "the device open); end it, or ask for one queue only",
        EBUSY);
  }
  return {};
}

Status TapDevice::forget_settings() const {
  struct Setting {
    unsigned long request;
    void* value;  ///< what the request takes, be it a number or an address
  };
  int no_program = -1;
  int off = 0;
  int on = 1;
  int header_bytes = sizeof(virtio_net_hdr);
  int send_buffer = INT_MAX;
  tun_filter no_filter{};
  const std::array settings{
      Setting{TUNSETSTEERINGEBPF, &no_program},
      Setting{TUNSETFILTEREBPF, &no_program},
      Setting{TUNDETACHFILTER, nullptr},
      Setting{TUNSETTXFILTER, &no_filter},
      Setting{TUNSETVNETHDRSZ, &header_bytes},
      Setting{TUNSETVNETLE, &off},
      Setting{TUNSETVNETBE, &off},
      Setting{TUNSETSNDBUF, &send_buffer},
      Setting{TUNSETCARRIER, &on},
      Setting{TUNSETOFFLOAD, nullptr},
      Setting{TUNSETDEBUG, nullptr},
  };
  for (const auto& [request, value] : settings) {
    // EINVAL: this kernel does not have the request, and so nobody can have made it.
    if (::ioctl(queues_.front().get(), request, value) < 0 && errno != EINVAL) {
      return fail_errno("cannot set up tap '" + name_ + "'");
    }
  }
  return {};
}

}  // namespace tapir::helper
