// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace guest {

/// The ways to reset the machine from kernel mode.
enum class ResetWay {
  kPort,         ///< port 0xCF9
  kKeyboard,     ///< the keyboard controller's line to the CPU
  kAcpi,         ///< the FADT's reset register
  kTripleFault,  ///< an exception without an interrupt table
};

/// Resets the machine. Returns if that did not work, or takes effect only after some instructions more.
void reset_machine(ResetWay way);

}  // namespace guest
