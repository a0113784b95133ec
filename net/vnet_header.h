// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "net/virtio_net_uapi.h"

namespace tapir::net {

/// What stands in front of every frame of a backend with a vnet header, and of every virtio-net packet of a
/// modern driver (virtio 1.3, 5.1.6 Device Operation). Little-endian, and tapir runs on nothing else.
using VnetHeader = virtio_net_hdr_v1;

inline constexpr std::size_t kVnetHeaderBytes = 12;
static_assert(sizeof(VnetHeader) == kVnetHeaderBytes);
static_assert(std::endian::native == std::endian::little);

/// Where num_buffers is. A tap leaves it 0 or untouched, so the device stores it itself.
inline constexpr std::size_t kNumBuffersOffset = offsetof(VnetHeader, num_buffers);

/// The shortest frame that a tap takes: the vnet header and an Ethernet header.
inline constexpr std::size_t kMinFrameBytes = kVnetHeaderBytes + 14;

/// A copy of the header at the start of `iov`, however it is split; nothing when there are fewer bytes. The
/// pieces may be guest memory: judge the copy and send the copy, for the guest can change the original.
inline std::optional<VnetHeader> copy_vnet_header(std::span<const iovec> iov) {
  VnetHeader header;
  auto* const out = reinterpret_cast<std::byte*>(&header);
  std::size_t copied = 0;
  for (const iovec& piece : iov) {
    const std::size_t size = std::min(piece.iov_len, kVnetHeaderBytes - copied);
    if (size > 0) {
      std::memcpy(out + copied, piece.iov_base, size);
      copied += size;
    }
    if (copied == kVnetHeaderBytes) {
      return header;
    }
  }
  return std::nullopt;
}

}  // namespace tapir::net
