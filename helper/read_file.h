// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "net/base/result.h"

namespace tapir::helper {

/// All bytes from the descriptor's position to the end of its file. More than `max_bytes` is an error and
/// never a part of the file. The error is a clause without the file's name, which the caller adds.
[[nodiscard]] Result<std::string> read_file(int fd, std::size_t max_bytes);

}  // namespace tapir::helper
