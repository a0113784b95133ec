// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/base/result.h"
#include "net/base/unique_fd.h"

namespace tapir::net::testing {

/// Moves the calling thread into a new, empty network namespace (and a mount namespace with its own /sys and,
/// for root, its own /dev/net/tun), so that nothing touches the host's network. As root, or as an ordinary
/// user of one thread where user namespaces are allowed. There is no way back; what is made in it goes away
/// with it. IPv6 is off in it: the kernel's own frames would mix with the test's. Error: the reason for a
/// skip, the lack of a usable /dev/net/tun among them.
[[nodiscard]] Status enter_network_namespace();

/// Of the namespace's own /dev/net/tun, made by root only (0600 as on the host at first). Error: this is not
/// root.
[[nodiscard]] Status set_tun_device_mode(mode_t mode);
[[nodiscard]] Status remove_tun_device();

/// How a tap is made for a test.
struct TapSetup {
  std::optional<uid_t> owner = std::nullopt;  // with an initialiser, so that callers may leave it out
  std::optional<gid_t> group = std::nullopt;
  bool multi_queue = false;
  bool tun = false;  ///< a tun, which carries no Ethernet
  bool up = true;
};

/// What `ip tuntap add`, `ip link set` and `ip link del` do, without the programs.
[[nodiscard]] Status make_persistent_tap(const std::string& name, const TapSetup& setup = {});
[[nodiscard]] Status set_link_up(const std::string& name, bool up);
[[nodiscard]] Status set_link_mtu(const std::string& name, int mtu);
[[nodiscard]] Status delete_link(const std::string& name);

/// The host's end of a tap: a packet(7) socket with vnet headers, bound to the interface.
class PacketSocket {
 public:
  [[nodiscard]] static Result<PacketSocket> open(const std::string& interface);

  /// One frame towards the tap's reader, the 12-byte vnet header first.
  [[nodiscard]] Status send(std::span<const std::byte> frame) const;
  /// The next frame that the tap's writer sent, the 12-byte vnet header first; nothing if none comes in 2 s.
  std::optional<std::vector<std::byte>> receive() const;

 private:
  explicit PacketSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

/// Runs `body` in a child process with this uid, no capabilities and no supplementary groups; its text comes
/// back.
std::string run_as(uid_t uid, const std::function<std::string()>& body);

}  // namespace tapir::net::testing
