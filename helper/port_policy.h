// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace tapir::helper {

/// What the administrator asks of a user's port on one bridge, beyond that it may be there. A value.
struct PortPolicy {
  /// Taps that the user may have on this bridge at once; unset: any number.
  std::optional<unsigned> limit;
  /// The port reaches only ports that are not isolated (ip-link(8), bridge_slave isolated).
  bool isolate = false;
  /// The port sends from one address only, that of --mac (ip-link(8), bridge_slave locked; learning off).
  bool lock = false;
  /// The port's only VLAN, untagged, 1 to 4094; unset: the bridge's default.
  std::optional<std::uint16_t> vlan;

  friend bool operator==(const PortPolicy&, const PortPolicy&) = default;
};

}  // namespace tapir::helper
