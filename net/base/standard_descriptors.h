// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/base/result.h"

namespace tapir {

/// Opens /dev/null for those of the descriptors 0 to 2 that the caller closed, so that no file of ours takes
/// their numbers and then what is printed. First thing in main(); opens nothing when all three are there.
/// They stay open across exec. Error: /dev/null cannot be opened.
[[nodiscard]] Status fill_standard_descriptors();

}  // namespace tapir
