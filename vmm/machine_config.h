// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/mac_address.h"

namespace tapir::vmm {

/// Where COM1 goes.
struct SerialConfig {
  enum class Kind : std::uint8_t { kStdio, kFile, kNull, kNone };
  Kind kind = Kind::kStdio;
  std::string path;  ///< of kFile
};

/// A tap that a bridge helper makes: `-netdev bridge` or `-netdev tap,helper=`.
struct BridgeConfig {
  std::string bridge = "br0";
  std::optional<std::string> helper;      ///< a path or a command, as given; unset: tapir's own
  unsigned queues = 1;                    ///< 1 to 16
  std::vector<std::string> down_command;  ///< of down-helper=, split into words; empty: none
};

/// A backend, which is always a tap: exactly one of `ifname`, `fd` and `bridge` is given.
struct TapConfig {
  std::string option;  ///< "-netdev tap,id=n0,fd=3": as given, for messages
  std::string id;
  std::string ifname;
  std::optional<int> fd;
  std::optional<BridgeConfig> bridge;
  std::optional<bool> vnet_header;  ///< unset: on when the tap has it
};

enum class NicModel : std::uint8_t { kVirtioNetPci, kVirtioNetDevice };

/// A NIC and the backend that it is paired with.
struct NicConfig {
  std::string option;  ///< as given, for messages
  std::string id;
  NicModel model = NicModel::kVirtioNetPci;
  std::optional<net::MacAddress> mac;  ///< unset: see design, a hash when the VM has a name, else random
  TapConfig backend;
};

/// `-cpu host,+feature,-feature`: names as in /proc/cpuinfo.
struct CpuConfig {
  std::vector<std::string> enable;
  std::vector<std::string> disable;
};

/// One guest, complete and consistent: what Options become once they are checked. Immutable while it runs.
struct MachineConfig {
  std::string name;
  std::string kernel_path;
  std::string initrd_path;  ///< empty: none
  std::string command_line;
  std::uint64_t memory_bytes = 0;  ///< a multiple of 4096
  unsigned cpus = 1;               ///< 1 to 64
  CpuConfig cpu;
  SerialConfig serial;
  bool reboot = true;  ///< false under -no-reboot: a reset ends the run
  std::vector<NicConfig> nics;
};

}  // namespace tapir::vmm
