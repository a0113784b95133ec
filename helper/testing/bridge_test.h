// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "helper/bridge_port.h"
#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/mac_address.h"
#include "net/testing/network_namespace.h"

namespace tapir::helper::testing {

inline constexpr uid_t kOwner = 1000;
inline constexpr uid_t kStranger = 65534;

/// What a shell command prints. What it cannot do is a failure of the test.
std::string run(const std::string& command);
/// One line of /sys/class/net/INTERFACE/FILE; "none" if there is no such file.
std::string sysfs(const std::string& interface, const std::string& file);
/// Interfaces of the network namespace.
std::vector<std::string> interfaces();

/// Calls `body` with another effective uid, and so without capabilities.
void as_user(uid_t uid, const std::function<void()>& body);
/// Attaches a new descriptor to the multi-queue tap `name` as the effective user; the errno on failure.
Result<UniqueFd> attach_queue(const std::string& name);

/// A frame of an experimental type.
using Frame = std::vector<std::byte>;
Frame make_frame(const net::MacAddress& destination, const net::MacAddress& source, unsigned number);
/// The address 52:54:00:00:00:NUMBER.
net::MacAddress guest_address(std::uint8_t number);
inline constexpr net::MacAddress kBroadcast{{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}};

/// What a guest would do with the only queue of its tap.
void send_frame(const Port& port, const Frame& frame);
/// Whether a frame comes out of one of the queues within `patience`.
bool is_readable(std::span<const UniqueFd> queues, std::chrono::milliseconds patience);
/// The next frame of make_frame()'s type that comes out of the port's only queue; nothing if none comes in 2
/// s. Frames that one thread sends arrive in order, so what must not arrive is what a later one overtakes.
std::optional<Frame> receive_frame(const Port& port);

/// The host's place on a bridge: what reaches the bridge's own interface.
class Host {
 public:
  explicit Host(const std::string& bridge);
  void send(const Frame& frame) const;
  /// The next frame of make_frame()'s type; nothing if none comes in 2 s.
  std::optional<Frame> receive() const;

 private:
  std::optional<net::testing::PacketSocket> socket_;
};

/// In a network namespace of its own, as root, with a /dev/net/tun of its own that everybody may open.
class BridgeTest : public ::testing::Test {
 protected:
  void SetUp() override;

  /// A bridge with an address of its own, up.
  static void make_bridge(const std::string& name, const std::string& options = "");
  /// The error's text, or "no error".
  static std::string error_of(const PortRequest& request);
  /// A port that must come to be.
  static Port port_of(const PortRequest& request);
};

}  // namespace tapir::helper::testing
