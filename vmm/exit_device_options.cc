// SPDX-License-Identifier: Apache-2.0
#include "vmm/exit_device_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "vmm/acpi_pm.h"
#include "vmm/platform.h"
#include "vmm/rtc.h"
#include "vmm/serial.h"

namespace tapir::vmm {
namespace {

using Kind = ExitDeviceConfig::Kind;
using Type = KeySpec::Type;

constexpr std::string_view kIsaDebugExit = "isa-debug-exit";
constexpr std::string_view kTapirExit = "tapir-exit";
constexpr std::uint32_t kAllPorts = 0x1'0000;

constexpr ExitDeviceConfig kIsaDebugExitStandard{Kind::kIsaDebugExit, 0x501, 2};
constexpr ExitDeviceConfig kTapirExitStandard{Kind::kTapirExit, platform::kTapirExitPort, 1};

constexpr KeySpec driver_key(std::string_view driver) {
  return {.name = "driver", .value = driver, .help = "the device; the first item", .example = driver};
}

constexpr KeySpec port_key(std::string_view standard) {
  return {.name = "iobase",
          .type = Type::kNumber,
          .value = "PORT",
          .standard = standard,
          .help = "the first I/O port",
          .example = "0xf4",
          .max = kAllPorts - 1};
}

constexpr KeySpec kIdKey{.name = "id",
                         .type = Type::kIdentifier,
                         .value = "ID",
                         .help = "name of the device, without effect",
                         .example = "exit0"};

constexpr std::array kIsaDebugExitKeys{driver_key(kIsaDebugExit), kIdKey, port_key("0x501"),
                                       KeySpec{.name = "iosize",
                                               .type = Type::kNumber,
                                               .value = "N",
                                               .standard = "2",
                                               .help = "how many ports",
                                               .example = "0x04",
                                               .min = 1,
                                               .max = kAllPorts}};
constexpr std::array kTapirExitKeys{driver_key(kTapirExit), kIdKey, port_key("0x508")};

struct Taken {
  std::uint32_t port;
  std::uint32_t ports;
  std::string_view owner;
};
/// Ports of the machine, those that KVM answers by itself among them.
constexpr std::array kTaken{Taken{0x20, 2, "the interrupt controller"},
                            Taken{0x40, 4, "the timer"},
                            Taken{platform::kI8042DataPort, 1, "the keyboard controller"},
                            Taken{0x61, 1, "the timer"},
                            Taken{platform::kI8042CommandPort, 1, "the keyboard controller"},
                            Taken{platform::kRtcPort, Rtc::kPorts, "the clock"},
                            Taken{0xA0, 2, "the interrupt controller"},
                            Taken{platform::kCom1Port, Serial::kPorts, "the serial port"},
                            Taken{0x4D0, 2, "the interrupt controller"},
                            Taken{platform::kPvpanicPort, 1, "pvpanic"},
                            Taken{platform::kPm1EventPort, AcpiPm::kPorts, "ACPI"},
                            Taken{platform::kPciAddressPort, 8, "PCI"}};

bool overlap(const ExitDeviceConfig& device, std::uint32_t port, std::uint32_t ports) {
  return device.port < port + ports && port < device.port + device.ports;
}

std::string_view driver_of(Kind kind) {
  return kind == Kind::kIsaDebugExit ? kIsaDebugExit : kTapirExit;
}

const ExitDeviceConfig& standard_of(Kind kind) {
  return kind == Kind::kIsaDebugExit ? kIsaDebugExitStandard : kTapirExitStandard;
}

/// Whose ports the device would take, or nothing.
std::string_view owner_of_ports(const MachineConfig& machine, const ExitDeviceConfig& device) {
  const auto* const taken = std::find_if(kTaken.begin(), kTaken.end(), [&](const Taken& range) {
    return overlap(device, range.port, range.ports);
  });
  if (taken != kTaken.end()) {
    return taken->owner;
  }
  const auto other = std::find_if(
      machine.exit_devices.begin(), machine.exit_devices.end(),
      [&](const ExitDeviceConfig& earlier) { return overlap(device, earlier.port, earlier.ports); });
  return other == machine.exit_devices.end() ? std::string_view() : driver_of(other->kind);
}

}  // namespace

bool is_exit_device(std::string_view driver) {
  return driver == kIsaDebugExit || driver == kTapirExit;
}

std::span<const KeySpec> exit_device_keys(std::string_view driver) {
  return driver == kIsaDebugExit ? std::span<const KeySpec>(kIsaDebugExitKeys) : kTapirExitKeys;
}

void add_exit_device(MachineConfig& machine, std::span<const KeyItem> items, Problems& problems) {
  const std::string_view driver = last_value(items, "driver");
  const std::size_t before = problems.size();
  const KeyValueList keys = KeyValueList::check(items, exit_device_keys(driver), problems);
  if (problems.size() != before) {
    return;
  }
  ExitDeviceConfig device = standard_of(driver == kIsaDebugExit ? Kind::kIsaDebugExit : Kind::kTapirExit);
  if (const auto port = keys.find("iobase")) {
    device.port = static_cast<std::uint16_t>(number_value(*port));
  }
  if (const auto ports = keys.find("iosize")) {
    device.ports = static_cast<std::uint32_t>(number_value(*ports));
  }
  if (device.port + device.ports > kAllPorts) {
    problems.add("the ports end at 0xffff; give a lower iobase= or iosize=");
    return;
  }
  if (const auto owner = owner_of_ports(machine, device); !owner.empty()) {
    problems.add(fmt::format("of the ports {:#x} to {:#x} some are those of {}; give another iobase=",
                             device.port, device.port + device.ports - 1, owner));
    return;
  }
  machine.exit_devices.push_back(device);
}

std::string exit_device_argument(const ExitDeviceConfig& device) {
  const ExitDeviceConfig& standard = standard_of(device.kind);
  std::string text(driver_of(device.kind));
  if (device.port != standard.port) {
    text.append(fmt::format(",iobase={:#x}", device.port));
  }
  if (device.ports != standard.ports) {
    text.append(fmt::format(",iosize={:#x}", device.ports));
  }
  return text;
}

}  // namespace tapir::vmm
