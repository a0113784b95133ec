// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest-tests/freestanding/virtio_net_driver.h"

namespace guest {

/// What guests that attack their own network device have in common. Each attack is one check: the device gave
/// back what it was given, with length 0, or asks for a reset; and after a reset it works. That the VMM
/// lives, and how little it says, is for the runner to see.
class Attacker {
 public:
  /// Memory for buffers and tables, of which kBufferBytes are each buffer's.
  static constexpr std::uintptr_t kBuffers = 0x210'0000;
  static constexpr std::uintptr_t kBufferBytes = 4096;
  static constexpr std::uint64_t kRam = std::uint64_t{64} << 20;

  /// On the transport of the command line, with these features.
  explicit Attacker(std::uint64_t features = 0);

  VirtioNetDriver& driver() { return driver_; }
  /// Where the device's own registers are.
  std::uintptr_t registers() const { return registers_; }
  static std::uintptr_t buffer(unsigned number) { return kBuffers + kBufferBytes * number; }

  /// Starts anew, for the next attack.
  void begin() { started_ = driver_.start(features_); }
  /// Writes a descriptor of a queue as it is, and makes it available as the next head, without a kick.
  static void add(PolledQueue& queue, std::uint16_t head, const Descriptor& descriptor);
  /// Makes a head available without touching descriptors.
  static void add_head(PolledQueue& queue, std::uint16_t head);
  /// Kicks `number` and waits until all of that queue came back or the device asks for a reset; then makes
  /// the check. `bytes` is the used length that is right, at most.
  void judge(const char* name, std::uint16_t number, std::uint32_t bytes = 0);
  /// The check alone: the device recovers from whatever happened.
  void judge_recovery(const char* name, bool passed = true);

 private:
  bool answered(std::uint16_t number, std::uint32_t bytes);
  bool works();

  const std::uint64_t features_;
  VirtioPci pci_;
  std::uintptr_t registers_;
  VirtioNetDriver driver_;
  bool started_ = false;
};

}  // namespace guest
