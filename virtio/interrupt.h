// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "net/base/result.h"

namespace tapir::virtio {

/// An edge-triggered interrupt of the guest's interrupt controller. Any thread may trigger.
class Interrupt {
 public:
  Interrupt() = default;
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  virtual ~Interrupt() = default;
  virtual void trigger() = 0;
};

/// What a PCI function writes to raise a message-signalled interrupt (PCI 3.0, 6.8.2 MSI-X Capability).
struct MsiMessage {
  std::uint64_t address = 0;
  std::uint32_t data = 0;
  friend bool operator==(const MsiMessage&, const MsiMessage&) = default;
};

/// One message-signalled interrupt. trigger() may come from any thread; the others from one at a time.
class MsiInterrupt : public Interrupt {
 public:
  /// From now on trigger() sends this message. A message is set before the first trigger().
  [[nodiscard]] virtual Status set_message(const MsiMessage& message) = 0;
};

/// One source on a shared, level-triggered line (a PCI function's INTx). The line is asserted while any
/// source asserts it. Any thread.
class LevelInterrupt {
 public:
  LevelInterrupt() = default;
  LevelInterrupt(const LevelInterrupt&) = delete;
  LevelInterrupt& operator=(const LevelInterrupt&) = delete;
  virtual ~LevelInterrupt() = default;
  virtual void set_level(bool asserted) = 0;
};

}  // namespace tapir::virtio
