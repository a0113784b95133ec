// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tapir {

/// Text of unknown origin as a part of one line for a terminal or a log: printable ASCII stays, every other
/// byte becomes \xHH. What is longer than `most_bytes`, counted before that, is cut and ends in "...".
std::string printable(std::string_view text, std::size_t most_bytes);

}  // namespace tapir
