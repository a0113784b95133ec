// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace guest {

/// A CPU that sleeps between looks at memory, so that many guests of one host do not take it from each other.
/// The first PIT channel interrupts through the first PIC every 55 ms; nothing else is let through.
class Idle {
 public:
  Idle();
  /// Sleeps until the next tick.
  void sleep() const;
};

}  // namespace guest
