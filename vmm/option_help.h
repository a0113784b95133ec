// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tapir::vmm {

/// What -help prints.
std::string help_text();
/// What -version prints.
std::string version_text();

/// The list that an argument of the option asks for, as `-netdev help`, `-netdev tap,help`, `-device help`,
/// `-device virtio-net-pci,help`, `-net nic,model=help`, `-nic model=help` and `-d help` do; `?` is help too.
/// Nothing: the argument asks for none.
std::optional<std::string> list_text(std::string_view option, std::string_view argument);

}  // namespace tapir::vmm
