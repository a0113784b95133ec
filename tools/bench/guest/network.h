// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest-tests/freestanding/pci.h"
#include "tools/bench/guest/ring.h"

namespace guest {

/// What the driver asks for besides VERSION_1, MAC and MRG_RXBUF.
struct NetworkSetup {
  bool event_index = true;
  bool large_frames = false;  ///< checksums and TCP segmentation left undone, both ways
};

/// A virtio-net on PCI with an MSI-X vector for each virtqueue, by kFirstVector and the next one of
/// user_mode.h.
class Network {
 public:
  /// From ring 0. False if there is no device, or it refused.
  bool start(const NetworkSetup& setup);
  Ring& receive() { return rings_[0]; }
  Ring& transmit() { return rings_[1]; }

 private:
  static constexpr std::uintptr_t kRings = 0x200'0000;

  void set_features(std::uint64_t features) const;
  void set_vector(std::uint16_t vector) const;
  bool set_up_queue(std::uint16_t queue, bool event_index);

  VirtioPci pci_;
  Ring rings_[2];
};

}  // namespace guest
