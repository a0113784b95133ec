// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "net/base/result.h"
#include "vmm/key_value_list.h"
#include "vmm/problems.h"

namespace tapir::vmm {

/// Whether the argument of -netdev or -device is meant to be JSON: QEMU's rule, its first byte.
bool is_json_argument(std::string_view argument);

/// The members of a JSON object as items, in order: `{"type":"tap","id":"n0","vnet_hdr":true}`. Error: it is
/// no JSON, no object, or has a key twice (QEMU refuses that, where the text form lets the last count).
[[nodiscard]] Result<std::vector<KeyItem>> json_items(std::string_view text);

/// The items of an argument in either form, or nothing after a problem.
std::optional<std::vector<KeyItem>> read_items(std::string_view argument, std::string_view implied,
                                               Problems& problems);

}  // namespace tapir::vmm
