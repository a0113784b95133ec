// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>

#include "net/base/result.h"
#include "net/base/unique_fd.h"

namespace tapir {

/// open(2) with O_CLOEXEC added, started again when a signal interrupts it. The error reads
/// "PATH: No such file or directory" and has the errno.
[[nodiscard]] Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode = 0);

}  // namespace tapir
