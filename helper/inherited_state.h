// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/base/result.h"

namespace tapir::helper {

/// Gets rid of what a caller can leave in a process for the program that it starts: the environment, the
/// working directory, blocked signals and running timers. Ignored signals stay ignored, since nothing here
/// waits for one, and SIGPIPE is one of them from now on: a reader that is gone is an error like others.
/// Resource limits stay; too small a one ends in an error. First thing in main(), takes no privilege.
[[nodiscard]] Status reset_inherited_state();

}  // namespace tapir::helper
