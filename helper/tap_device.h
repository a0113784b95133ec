// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "helper/link_state.h"
#include "helper/netlink.h"
#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/mac_address.h"

namespace tapir::helper {

/// How many taps a user may have at once, and on which bridge (its ifindex).
struct TapLimit {
  unsigned taps = 0;
  int bridge_index = 0;
};

/// What tap to make.
struct TapOptions {
  /// Whose it will be. Here it only names the slots of a limit.
  uid_t owner = 0;
  /// 1 to 256 (MAX_TAP_QUEUES); above 1 the tap is a multi-queue one.
  unsigned queues = 1;
  /// Frames carry a vnet header, if this kernel's taps have it.
  bool vnet_header = false;
  std::optional<TapLimit> limit = std::nullopt;
};

/// Makes `owner` the one user beside CAP_NET_ADMIN who may attach to the tap of which `queue` is a queue.
/// Takes no privilege but the descriptor (drivers/net/tun.c, TUNSETOWNER).
[[nodiscard]] Status set_tap_owner(int queue, uid_t owner);

/// A tap that is being made, and the descriptors of its queues. It is not persistent, so it vanishes with the
/// last of them. After creation its name is used for one thing, to attach further queues, and everything else
/// goes through the descriptors, or through the ifindex that check() vouches for. One thread.
///
/// What others can do meanwhile (drivers/net/tun.c). A tap has no owner until TUNSETOWNER, and as long as it
/// has none, any process with /dev/net/tun open may attach a queue to it by name (tun_set_iff,
/// tun_not_capable) if it is a multi-queue one; a tap with one queue, which is ours from its creation,
/// answers EBUSY (tun_attach). Every descriptor of a queue is as good as another: its holder may set owner,
/// group, persistence, address, filters and more without any privilege, until he closes it. Two things hold
/// him off:
/// - Nothing passes before the interface is up (tun_get_user, EIO), which takes CAP_NET_ADMIN, and we do that
/// last.
/// - The kernel counts attached queues, in use or switched off. check() demands that all ours are attached
/// and that
///   there is no other, that the owner is ours and there is no group, in one picture that the kernel draws
///   under the RTNL, the lock under which attaching and all these requests run. The owner until then is
///   root, who may do all of it anyway. So from that picture on nobody else has a descriptor, and none can
///   get one, not even the user for whom the tap is: attaching takes to be the owner, and changing the owner
///   takes a descriptor. What a stranger set before he closed his is undone by forget_settings(), or refused
///   by check().
class TapDevice {
 public:
  /// Creates the interface with its first queue. Its name is tapN, or with a limit the first free one of the
  /// user's slots (see slot_name). Error code EUSERS: all slots are taken.
  [[nodiscard]] static Result<TapDevice> create(const TapOptions& options);

  /// Makes root the owner, so that nobody without CAP_NET_ADMIN may attach, and gives the tap an address that
  /// begins with FE: a bridge takes the lowest address of its ports for its own
  /// (br_stp_recalculate_bridge_id), and this one is above all that hardware has. Call it at once after
  /// create().
  [[nodiscard]] Status claim();

  /// Attaches queues until there are `total`.
  [[nodiscard]] Status add_queues(unsigned total);

  /// The interface behind the descriptors, found by the name that they give for it.
  [[nodiscard]] Result<LinkState> find(Netlink& netlink) const;

  /// The same without a look at the other descriptors: for a tap that something is wrong with.
  [[nodiscard]] Result<LinkState> find_any(Netlink& netlink) const;

  /// Whether `link`, of find(), is surely this tap, and only we have queues of it. Call it after add_queues()
  /// and before the tap is given anything. Error code EBUSY: somebody else has, or had, hands on it.
  [[nodiscard]] Status check(const LinkState& link) const;

  /// Sets what a descriptor can set, and what is not visible in LinkState, to the values of a new tap.
  [[nodiscard]] Status forget_settings() const;

  const std::string& name() const { return name_; }
  std::span<const UniqueFd> queues() const { return queues_; }
  std::vector<UniqueFd> take_queues() && { return std::move(queues_); }

 private:
  TapDevice(UniqueFd first, std::string name, int flags) : name_(std::move(name)), flags_(flags) {
    queues_.push_back(std::move(first));
  }
  [[nodiscard]] Status check_queues() const;

  std::vector<UniqueFd> queues_;
  std::string name_;
  int flags_;
  net::MacAddress address_;
};

}  // namespace tapir::helper
