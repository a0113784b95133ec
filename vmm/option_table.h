// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "net/base/result.h"
#include "vmm/machine_config.h"
#include "vmm/netdev_options.h"

namespace tapir::vmm {

/// What the options have said so far.
struct OptionState {
  MachineConfig machine;
  NetworkOptions network;
  bool serial_given = false;
};

/// One option: its only declaration. The help text is generated from these, and the manual is tested against
/// them.
struct OptionSpec {
  enum class Group : std::uint8_t { kBoot, kMachine, kConsole, kNetwork, kCompatibility, kInformation };
  /// Takes the argument (empty when the option has none). The error does not name the option: the caller
  /// does.
  using Apply = Status (*)(OptionState& state, std::string_view argument);

  std::string_view name;      ///< without the dash
  std::string_view argument;  ///< as the help shows it; empty: the option takes none
  std::string_view help;      ///< lines of at most 56 characters
  std::string_view example;   ///< an argument that is right, for the error when it is missing
  Group group = Group::kMachine;
  Apply apply = nullptr;  ///< null for help and version
};

/// In the order of the help text.
std::span<const OptionSpec> option_table();

/// By name without dashes, or null.
const OptionSpec* find_option(std::string_view name);

/// What -help prints.
std::string help_text();
/// What -version prints.
std::string version_text();

}  // namespace tapir::vmm
