// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/virtio_config.h>

#include <cstdint>

#include "net/frame_io.h"
#include "net/virtio_net_uapi.h"

namespace tapir::virtio {

constexpr bool has_feature(std::uint64_t features, unsigned bit) {
  return (features >> bit & 1U) != 0;
}

/// What is offered only when an operator asks for it, as in QEMU.
inline constexpr std::uint64_t kOffByDefault =
    std::uint64_t{1} << VIRTIO_F_RING_PACKED | std::uint64_t{1} << VIRTIO_F_IN_ORDER;

/// Every feature bit of a network device on this host end: VERSION_1, the ring features, MAC, STATUS,
/// MRG_RXBUF, the control virtqueue with all that it commands, MTU if it is known and from 68 to 65521, and
/// the offloads that the host end really has.
std::uint64_t offered_net_features(const net::FrameIoFeatures& host);

/// `features` without those of `off`, and without all that cannot be had without these. VERSION_1 and MAC
/// stay.
std::uint64_t without_net_features(std::uint64_t features, std::uint64_t off);

/// Whether every bit comes with those that it needs (virtio 1.3, 5.1.3.1 Feature bit requirements), VERSION_1
/// among them.
bool net_features_consistent(std::uint64_t features);

/// Whether a frame with this gso_type (VIRTIO_NET_HDR_GSO_*, the ECN bit included) may be sent by a driver
/// that accepted `features`, or given to it.
bool may_transmit_gso(std::uint8_t gso_type, std::uint64_t features);
bool may_receive_gso(std::uint8_t gso_type, std::uint64_t features);

/// Turns the header that a driver sent into one that the host's kernel takes for what it means, or says no.
/// `frame_bytes` is the frame without the header. Follows virtio 1.3, 5.1.6.2.2 Device Requirements: Packet
/// Transmission (unknown flags ignored, checksum fields only with NEEDS_CSUM, hdr_len no more than a hint)
/// and refuses what 5.1.6.2.1 forbids the driver: offloads not accepted, segmentation without NEEDS_CSUM, a
/// checksum outside the frame. A fixed point: a header that it returned comes back unchanged.
[[nodiscard]] bool sanitise_transmit_header(virtio_net_hdr_v1& header, std::uint64_t frame_bytes,
                                            std::uint64_t features);

}  // namespace tapir::virtio
