// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "vmm/machine_config.h"
#include "vmm/netdev_options.h"
#include "vmm/problems.h"

namespace tapir::vmm {

/// What the options have said so far.
struct OptionState {
  MachineConfig machine;
  NetworkOptions network;
  bool serial_given = false;
  bool dry_run = false;
};

/// One option: its only declaration. The help text, the completion of shells, the manual and the table in
/// README come from these and from the keys of the network's options (network_keys.h).
struct OptionSpec {
  enum class Group : std::uint8_t { kBoot, kMachine, kEnd, kConsole, kNetwork, kCompatibility, kInformation };
  /// Takes the argument (empty when the option has none). The problems do not name the option: the caller
  /// does.
  using Apply = void (*)(OptionState& state, std::string_view argument, Problems& problems);

  std::string_view name;      ///< without the dash
  std::string_view argument;  ///< as the help shows it; empty: the option takes none
  std::string_view help;      ///< a phrase without a final period
  std::string_view more;      ///< sentences that only the manual has; empty: none
  std::string_view example;   ///< an argument that is right, for the error when it is missing
  Group group = Group::kMachine;
  Apply apply = nullptr;  ///< null for help and version
};

/// In the order of the help text.
std::span<const OptionSpec> option_table();
std::string_view group_title(OptionSpec::Group group);

/// By name without dashes, or null.
const OptionSpec* find_option(std::string_view name);

}  // namespace tapir::vmm
