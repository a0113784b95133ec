// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tapir::bench {

/// Calls of operator new on the calling thread so far. Linking this replaces the global operator new by one
/// that counts and calls malloc(3).
std::uint64_t thread_allocations();

}  // namespace tapir::bench
