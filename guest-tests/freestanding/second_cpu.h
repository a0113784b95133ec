// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace guest {

/// The second CPU, in real mode, in a loop: it counts, which writes to memory, and writes to a port, which
/// leaves the guest for the VMM, until it is told to reset the machine itself.
class SecondCpu {
 public:
  /// Whether its memory holds what it does when nobody has written there since the machine was switched on.
  static bool untouched();
  /// INIT and start-up IPI (Intel SDM, volume 3, 9.4.4 MP Initialization Example). False if it does not begin
  /// to count.
  static bool start();
  /// Instead, it rotates the bits of the 512 bytes at kFlipped, over and over, as fast as it can.
  static bool start_flipping();
  static constexpr std::uintptr_t kFlipped = 0x8'3000;
  /// Whatever it does, it does no more.
  static void stop();
  /// It resets the machine through port 0xCF9 the next time around.
  static void order_reset();
};

}  // namespace guest
