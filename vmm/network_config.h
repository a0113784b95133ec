// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/frame_io_factory.h"
#include "net/mac_address.h"
#include "net/tun_device.h"
#include "virtio/net_features.h"

namespace tapir::vmm {

/// A program that sets a tap's interface up, or down again: run without a shell, with the interface's name as
/// its only argument.
struct ScriptConfig {
  std::string path;    ///< empty: none
  bool given = false;  ///< by the operator; false: `path` is the default of the installation, or none

  friend bool operator==(const ScriptConfig&, const ScriptConfig&) = default;
};

/// Where the installation looks for scripts of taps that name none: ${sysconfdir}/tapir/ifup and ifdown.
std::string_view default_up_script();
std::string_view default_down_script();
/// The device that opens taps, unless dev= names a macvtap's.
using net::kTunDevice;
/// The kernel's limit for one tap is 256; the device's is less.
inline constexpr unsigned kMaxQueues = 16;

/// A tap that a bridge helper makes: `-netdev bridge` or `-netdev tap,helper=`.
struct BridgeConfig {
  std::string bridge = "br0";
  std::optional<std::string> helper;      ///< a path or a command, as given; unset: tapir's own
  std::vector<std::string> down_command;  ///< of down-helper=, split into words; empty: none

  friend bool operator==(const BridgeConfig&, const BridgeConfig&) = default;
};

/// A backend that opens a tap, in one of three ways: `bridge` is set, or `fds` is not empty, or neither: then
/// tapir opens `device`.
struct TapConfig {
  std::string option;                   ///< "-netdev tap,id=n0,fd=3": as given, for messages
  std::string id;                       ///< empty: none given
  std::string ifname;                   ///< of a tap that tapir opens; empty: the kernel picks tap%d
  std::string device{kTunDevice};       ///< of a tap that tapir opens; another one is a macvtap's
  std::vector<int> fds;                 ///< of fd= and fds=, open already, one for each queue
  std::optional<BridgeConfig> bridge;   ///< of type bridge and helper=
  ScriptConfig up_script;               ///< of a tap that tapir opens
  ScriptConfig down_script;             ///< likewise
  std::optional<bool> vnet_header;      ///< unset: on when the tap has it
  std::optional<std::uint64_t> sndbuf;  ///< bytes, for TUNSETSNDBUF; unset: leave the kernel's default
  unsigned queues = 1;                  ///< 1 to kMaxQueues; of `fds`, their number
  net::EngineChoice engine = net::EngineChoice::kAuto;  ///< of io=
  std::uint32_t poll_microseconds = 0;  ///< how long the I/O thread looks again and again before it sleeps

  friend bool operator==(const TapConfig&, const TapConfig&) = default;
};

/// A hub: every frame that comes in at one port goes out at all others. A hub with one tap and one NIC alone
/// does not exist in a MachineConfig: these two are joined directly. All else does, two taps or a NIC alone
/// included.
struct HubConfig {
  std::int32_t id = 0;          ///< of hubid=; 0 is the one of -net
  std::vector<TapConfig> taps;  ///< its ports but the NICs (NicConfig::hub), in order of initialisation

  friend bool operator==(const HubConfig&, const HubConfig&) = default;
};

enum class NicModel : std::uint8_t { kVirtioNetPci, kVirtioNetDevice };

/// A place on PCI bus 0.
struct PciAddress {
  unsigned slot = 0;      ///< 1 to 31
  unsigned function = 0;  ///< 0: tapir has no functions beside it

  friend bool operator==(const PciAddress&, const PciAddress&) = default;
};

/// A NIC and what it is joined to: a tap of its own, a hub, or (with a warning) nothing.
struct NicConfig {
  enum class Duplex : std::uint8_t { kUnknown, kHalf, kFull };

  std::string option;  ///< as given, for messages
  std::string id;      ///< empty: none given
  NicModel model = NicModel::kVirtioNetPci;
  std::optional<net::MacAddress> mac;  ///< unset: of a macvtap its address; else a hash when the VM has a
                                       ///< name, else random
  std::optional<TapConfig> backend;    ///< the tap that is this NIC's alone
  std::optional<std::size_t> hub;      ///< index into MachineConfig::hubs

  bool multi_queue = false;  ///< of mq=: a queue pair for each queue of the backend
  /// 1 << VIRTIO_NET_F_* or VIRTIO_F_*: not to be offered.
  std::uint64_t features_off = virtio::kOffByDefault;
  std::uint16_t rx_queue_size = 256;     ///< a power of 2, 256 to 1024
  std::uint16_t tx_queue_size = 256;     ///< 256
  std::uint16_t host_mtu = 0;            ///< what the guest is told, 68 to 65521; 0: the backend's own
  std::optional<std::uint32_t> vectors;  ///< MSI-X vectors, 0 for none; unset: 2 N + 2 for N queue pairs
  std::optional<PciAddress> address;     ///< unset: the first free slot
  std::optional<std::uint32_t> speed;    ///< Mbit/s; unset: unknown
  Duplex duplex = Duplex::kUnknown;
  std::optional<std::int32_t> bootindex;  ///< accepted, without effect: there is no firmware

  friend bool operator==(const NicConfig&, const NicConfig&) = default;
};

}  // namespace tapir::vmm
