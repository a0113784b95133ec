// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/result.h"

namespace tapir::bench {

/// All sizes here are in bytes with the 12-byte vnet header: a frame of 118 bytes is one of 106 on the wire.
///
/// Every frame is IPv4 and TCP to a station that is nobody, so the host's kernel drops what is sent as soon
/// as it looks at the destination. Behind the TCP header it carries its number, and the same number again at
/// its very end, so that a cut or mixed-up frame is seen.

/// A TCP segment that is left to be cut, 45 segments of 1448 bytes: as large as Linux sends them.
inline constexpr std::size_t kLargeFrameBytes = 12 + 54 + std::size_t{45} * 1448;
inline constexpr std::size_t kMinNumberedBytes = 12 + 54 + 8 + 8;

/// Frame sizes in turn: {118, 65226} is half small, half large.
struct FrameMix {
  std::vector<std::size_t> sizes;

  std::size_t size_of(std::uint64_t number) const { return sizes[number % sizes.size()]; }
  std::size_t largest() const;
  double mean() const;
  /// "118 B", "64K TSO", "118 B + 64K TSO".
  std::string name() const;
};

/// "118", "1514", "tso", "mixed" (118 and tso in turn), or a list such as "118,1514,tso". Error: a size
/// outside 82 to 1526 that is not "tso".
[[nodiscard]] Result<FrameMix> parse_frame_mix(std::string_view text);

/// Fills all of `frame` with headers for its size (a large frame's vnet header asks for segmentation) and
/// zeroes. The number is stamped later.
void write_frame(std::span<std::byte> frame);

/// Puts the number into a frame that lies in `pieces`. The first piece holds the headers and the number.
void stamp(std::span<const iovec> pieces, std::size_t bytes, std::uint64_t number);
/// The number of a frame; nothing when it is not whole: its two numbers differ, or it is too short.
std::optional<std::uint64_t> read_stamp(std::span<const iovec> pieces, std::size_t bytes);
/// The number alone, of the start of a frame that was cut on purpose.
std::optional<std::uint64_t> read_number(std::span<const std::byte> start);

/// Pieces of memory for a frame of `bytes`, each of `piece_bytes` (0: one piece) and `stride` apart.
std::vector<iovec> pieces_at(std::byte* start, std::size_t bytes, std::size_t piece_bytes,
                             std::size_t stride);

}  // namespace tapir::bench
