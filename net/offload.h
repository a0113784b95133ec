// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/if_tun.h>

#include <cstdint>

#include "net/frame_io.h"
#include "net/virtio_net_uapi.h"

// UDP segmentation came with Linux 6.2 (include/uapi/linux/if_tun.h); Debian 12's headers are of 6.1.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace tapir::net {

/// Every TUN_F_* bit that tapir may set. Without TUN_F_UFO: no kernel since 4.14 makes UFO frames.
inline constexpr unsigned kAllTunOffloads =
    TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6;

/// The same without USO: what a kernel before 6.2 accepts.
inline constexpr unsigned kTunOffloadsBeforeUso = kAllTunOffloads & ~unsigned{TUN_F_USO4 | TUN_F_USO6};

/// A TUN_F_* word reduced to what TUNSETOFFLOAD accepts: it refuses a whole word, and all offloads are lost,
/// when a bit comes without those that it needs (drivers/net/tun.c, set_offload). Everything needs CSUM, ECN
/// needs a TSO, and USO4 and USO6 need each other. Bits that tapir does not know are taken out.
unsigned consistent_tun_offloads(unsigned tun_offloads);

/// The offload bits of virtio-net (1 << VIRTIO_NET_F_*) that a device on this backend may offer: CSUM,
/// GUEST_CSUM, HOST_TSO4 … GUEST_USO6. Consistent by virtio 1.3, 5.1.3.1 Feature bit requirements. Nothing
/// without a vnet header, for then no frame can say what is left to do. MAC, STATUS, MTU, MRG_RXBUF are the
/// device's own.
std::uint64_t offered_offloads(const FrameIoFeatures& backend);

/// What to set on the backend (FrameIo::set_offloads) for a driver that accepted `driver_features`: how
/// frames may reach it. Always a word that TUNSETOFFLOAD accepts if the bits were offered. A driver that
/// takes only one of GUEST_USO4 and GUEST_USO6 gets neither.
unsigned tun_offloads_for(std::uint64_t driver_features);

}  // namespace tapir::net
