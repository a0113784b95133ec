// SPDX-License-Identifier: Apache-2.0
#include "net/offload.h"

#include <array>

namespace tapir::net {
namespace {

constexpr unsigned kTso = TUN_F_TSO4 | TUN_F_TSO6;
constexpr unsigned kUso = TUN_F_USO4 | TUN_F_USO6;

constexpr std::uint64_t feature(unsigned bit) {
  return std::uint64_t{1} << bit;
}

struct GuestOffload {
  unsigned virtio_bit;
  unsigned tun_offload;
};

// The receive direction, where each virtio bit has its counterpart.
constexpr std::array<GuestOffload, 6> kGuestOffloads{{
    {VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM},
    {VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4},
    {VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6},
    {VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN},
    {VIRTIO_NET_F_GUEST_USO4, TUN_F_USO4},
    {VIRTIO_NET_F_GUEST_USO6, TUN_F_USO6},
}};

}  // namespace

unsigned consistent_tun_offloads(unsigned tun_offloads) {
  unsigned result = tun_offloads & kAllTunOffloads;
  if ((result & TUN_F_CSUM) == 0) {
    return 0;
  }
  if ((result & kTso) == 0) {
    result &= ~unsigned{TUN_F_TSO_ECN};
  }
  if ((result & kUso) != kUso) {
    result &= ~kUso;
  }
  return result;
}

std::uint64_t offered_offloads(const FrameIoFeatures& backend) {
  if (!backend.vnet_header) {
    return 0;
  }
  // What a tap takes from us does not depend on TUNSETOFFLOAD: every kernel that knows the vnet header
  // completes checksums and cuts TCP segments (drivers/net/tun.c, tun_get_user).
  std::uint64_t features = feature(VIRTIO_NET_F_CSUM) | feature(VIRTIO_NET_F_HOST_TSO4) |
                           feature(VIRTIO_NET_F_HOST_TSO6) | feature(VIRTIO_NET_F_HOST_ECN);
  const unsigned accepted = consistent_tun_offloads(backend.offloads);
  if ((accepted & kUso) == kUso) {
    // VIRTIO_NET_HDR_GSO_UDP_L4 is known to the kernels that know TUN_F_USO4 and 6, and to no older one.
    features |= feature(VIRTIO_NET_F_HOST_USO);
  }
  for (const GuestOffload& offload : kGuestOffloads) {
    if ((accepted & offload.tun_offload) != 0) {
      features |= feature(offload.virtio_bit);
    }
  }
  return features;
}

unsigned tun_offloads_for(std::uint64_t driver_features) {
  unsigned wanted = 0;
  for (const GuestOffload& offload : kGuestOffloads) {
    if ((driver_features & feature(offload.virtio_bit)) != 0) {
      wanted |= offload.tun_offload;
    }
  }
  return consistent_tun_offloads(wanted);
}

}  // namespace tapir::net
