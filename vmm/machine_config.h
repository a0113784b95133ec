// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/network_config.h"

namespace tapir::vmm {

/// Where COM1 goes.
struct SerialConfig {
  enum class Kind : std::uint8_t { kStdio, kFile, kNull, kNone };
  Kind kind = Kind::kStdio;
  std::string path;  ///< of kFile

  friend bool operator==(const SerialConfig&, const SerialConfig&) = default;
};

/// A device by which the guest ends the run with a status that it chooses (exit_device.h).
struct ExitDeviceConfig {
  enum class Kind : std::uint8_t { kIsaDebugExit, kTapirExit };
  Kind kind = Kind::kIsaDebugExit;
  std::uint16_t port = 0;   ///< the first
  std::uint32_t ports = 1;  ///< how many; all below 65536

  friend bool operator==(const ExitDeviceConfig&, const ExitDeviceConfig&) = default;
};

/// How a run ends, beside what the guest does.
struct EndConfig {
  enum class Panic : std::uint8_t {
    kExitFailure,  ///< the run ends with its own status
    kShutdown,     ///< the run ends with status 0, which is QEMU's default
    kPause,        ///< the guest stands still until the operator ends it
    kNone,         ///< the run goes on
  };
  Panic panic = Panic::kExitFailure;
  bool pause_at_shutdown = false;  ///< instead of ending when the guest powers off
  std::uint32_t time_limit = 0;    ///< seconds; 0: none
  std::uint32_t time_warning =
      0;  ///< seconds before the limit at which the power button is pressed; 0: never
  std::vector<std::string> expect;
  std::vector<std::string> fail;
  std::string report_path;  ///< empty: none

  friend bool operator==(const EndConfig&, const EndConfig&) = default;
};

/// `-cpu host,+feature,-feature`: names as in /proc/cpuinfo.
struct CpuConfig {
  std::vector<std::string> enable;
  std::vector<std::string> disable;

  friend bool operator==(const CpuConfig&, const CpuConfig&) = default;
};

inline constexpr std::uint64_t kDefaultMemoryBytes = std::uint64_t{128} << 20U;  ///< QEMU's

/// One guest, complete and consistent: what Options become once they are checked. Immutable while it runs.
struct MachineConfig {
  std::string name;
  std::string kernel_path;
  std::vector<std::string> initrds;  ///< paths, perhaps with arguments behind a blank
  std::string command_line;
  std::uint64_t memory_bytes = 0;  ///< a multiple of 4096
  unsigned cpus = 1;               ///< 1 to 64
  CpuConfig cpu;
  SerialConfig serial;
  std::vector<ExitDeviceConfig> exit_devices;
  EndConfig end;
  bool reboot = true;  ///< false under -no-reboot: a reset ends the run
  std::vector<HubConfig> hubs;
  std::vector<NicConfig> nics;
  bool log_network = false;  ///< of `-d net`: one line for each NIC at the start

  friend bool operator==(const MachineConfig&, const MachineConfig&) = default;
};

}  // namespace tapir::vmm
