// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest-tests/freestanding/pci.h"

namespace guest {

/// virtio 1.3, 2.7.5 The Virtqueue Descriptor Table. (<linux/virtio_ring.h> is no C++.)
struct Descriptor {
  std::uint64_t address;
  std::uint32_t bytes;
  std::uint16_t flags;
  std::uint16_t next;
};

/// One split virtqueue that is polled: kQueueSize descriptors, each with a buffer of its own that the caller
/// names.
struct PolledQueue {
  static constexpr std::uint16_t kQueueSize = 32;

  Descriptor* descriptors = nullptr;
  std::uint16_t* avail = nullptr;          ///< flags, idx, ring
  volatile std::uint16_t* used = nullptr;  ///< flags, idx, then 8 bytes for each element
  std::uint16_t avail_index = 0;
  std::uint16_t used_index = 0;

  /// Makes descriptor `head` available, device-writable or not.
  void add(std::uint16_t head, std::uintptr_t address, std::uint32_t bytes, bool writable);
  /// Whether the device has used another buffer; then which, and how much it wrote.
  bool take_used(std::uint16_t& head, std::uint32_t& bytes);
};

/// A virtio-net driver that negotiates VERSION_1 and MAC, and what else it is told. A frame is a 12-byte
/// header and its bytes in one buffer; there are no interrupts.
class VirtioNetDriver {
 public:
  /// Where its rings lie if nothing else is said, in memory that the guest's image does not reach: one page
  /// for each of the three parts of each virtqueue.
  static constexpr std::uintptr_t kRings = 0x200'0000;

  /// Register file of virtio-mmio version 2.
  explicit VirtioNetDriver(std::uintptr_t mmio) : mmio_(mmio) {}
  explicit VirtioNetDriver(const VirtioPci& pci) : pci_(pci) {}

  /// Reset, features (these and VERSION_1 and MAC), virtqueues, DRIVER_OK. False if the device refused.
  bool start(std::uint64_t more_features = 0);
  /// The beginning of start(), up to FEATURES_OK.
  bool agree(std::uint64_t more_features = 0);
  void place_rings(std::uintptr_t rings) { rings_ = rings; }
  void set_status(std::uint8_t status) const;
  std::uint8_t status() const;
  /// Tells the device where a virtqueue is, and that it is ready.
  void give_queue(std::uint16_t queue, std::uintptr_t descriptors, std::uintptr_t avail, std::uintptr_t used);
  /// Tells the device that `receive()` or `transmit()` has new buffers.
  void kick(std::uint16_t queue) const;
  PolledQueue& receive() { return queues_[0]; }
  PolledQueue& transmit() { return queues_[1]; }
  PolledQueue& control() { return queues_[2]; }  ///< with CTRL_VQ only

 private:
  void set_features(std::uint64_t features) const;
  void set_up_queue(std::uint16_t queue);

  std::uintptr_t mmio_ = 0;  ///< 0: on PCI
  std::uintptr_t rings_ = kRings;
  VirtioPci pci_;
  std::uintptr_t notify_[3] = {};  ///< PCI: where each virtqueue is kicked
  PolledQueue queues_[3];
};

}  // namespace guest
