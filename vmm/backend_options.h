// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "net/base/result.h"
#include "vmm/key_value_list.h"
#include "vmm/machine_config.h"

namespace tapir::vmm {

/// What the argument of -netdev, -net or -nic says of a backend.
struct BackendOption {
  KeyValueList keys;    ///< all of the argument
  TapConfig tap;        ///< all but `option`
  std::string warning;  ///< a key without effect; empty: none
};

/// Reads `tap,...` and `bridge,...` with QEMU's keys, defaults and rules of combination (net/tap.c), and the
/// keys `queues` and `down-helper` of tapir's own where a helper makes the tap. `nic_keys` may stand between
/// them and are left to the caller. Pure. Errors do not repeat the argument.
[[nodiscard]] Result<BackendOption> parse_backend(std::string_view argument,
                                                  std::span<const KeySpec> nic_keys = {});

}  // namespace tapir::vmm
