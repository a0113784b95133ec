// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

/// Ring 3 for code that must be fast: hosts that emulate a guest's kernel mode run this at full speed. All
/// memory and all registers in memory are mapped there; I/O ports are not, since not every host obeys IOPL.
namespace guest {

/// Interrupt vectors that are counted, from kFirstVector on. An MSI with `kMessageAddress` and a vector as
/// its data goes to this CPU.
inline constexpr unsigned kFirstVector = 0x40;
inline constexpr unsigned kVectors = 2;
inline constexpr std::uint32_t kMessageAddress = 0xFEE0'0000;

/// Calls `body` in ring 3 with interrupts on and returns when it has; they are off again then. Once. Any
/// exception there is a triple fault.
void run_in_user_mode(void (*body)());

/// In ring 3: halts the CPU until the next interrupt. Returns at once if one has come since the last call
/// returned.
void sleep_until_interrupt();

/// How many interrupts have come by the vector kFirstVector + `number`.
std::uint64_t interrupts(unsigned number);

}  // namespace guest
