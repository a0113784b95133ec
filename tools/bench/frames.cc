// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/frames.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "net/base/parse.h"
#include "net/vnet_header.h"

namespace tapir::bench {
namespace {

constexpr std::size_t kNumberOffset = 12 + 54;
constexpr std::size_t kIpOffset = 12 + 14;
constexpr std::size_t kTcpOffset = kIpOffset + 20;
constexpr std::size_t kMaxPlainBytes = 12 + 1514;
constexpr std::uint16_t kSegmentBytes = 1448;

void put16(std::span<std::byte> frame, std::size_t at, std::size_t value) {
  frame[at] = static_cast<std::byte>(value >> 8U & 0xFFU);
  frame[at + 1] = static_cast<std::byte>(value & 0xFFU);
}

/// The last eight bytes may lie across two pieces.
template <typename Copy>
void for_tail(std::span<const iovec> pieces, std::size_t bytes, Copy copy) {
  std::size_t offset = bytes - sizeof(std::uint64_t);
  std::size_t done = 0;
  for (const iovec& piece : pieces) {
    if (offset >= piece.iov_len) {
      offset -= piece.iov_len;
      continue;
    }
    const std::size_t part = std::min(piece.iov_len - offset, sizeof(std::uint64_t) - done);
    copy(static_cast<std::byte*>(piece.iov_base) + offset, done, part);
    done += part;
    offset = 0;
    if (done == sizeof(std::uint64_t)) {
      return;
    }
  }
}

std::string size_name(std::size_t bytes) {
  return bytes == kLargeFrameBytes ? "64K TSO" : fmt::format("{} B", bytes);
}

}  // namespace

std::size_t FrameMix::largest() const {
  return *std::max_element(sizes.begin(), sizes.end());
}

double FrameMix::mean() const {
  const std::size_t sum = std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
  return static_cast<double>(sum) / static_cast<double>(sizes.size());
}

std::string FrameMix::name() const {
  std::string text;
  for (const std::size_t size : sizes) {
    text += (text.empty() ? "" : " + ") + size_name(size);
  }
  return text;
}

Result<FrameMix> parse_frame_mix(std::string_view text) {
  if (text == "mixed") {
    return FrameMix{{118, kLargeFrameBytes}};
  }
  FrameMix mix;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t comma = std::min(text.find(',', start), text.size());
    const std::string_view word = text.substr(start, comma - start);
    const auto size =
        word == "tso" ? std::optional<std::uint64_t>(kLargeFrameBytes) : parse_unsigned(word, kMaxPlainBytes);
    if (!size || *size < kMinNumberedBytes) {
      return fail(
          fmt::format("frame size '{}' is neither {} to {} bytes (the 12-byte vnet header included) "
                      "nor tso nor mixed",
                      word, kMinNumberedBytes, kMaxPlainBytes));
    }
    mix.sizes.push_back(*size);
    start = comma + 1;
  }
  return mix;
}

void write_frame(std::span<std::byte> frame) {
  std::fill(frame.begin(), frame.end(), std::byte{0});
  if (frame.size() > kMaxPlainBytes) {
    net::VnetHeader header{};
    header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
    header.hdr_len = 54;
    header.gso_size = kSegmentBytes;
    header.csum_start = 34;
    header.csum_offset = 16;
    std::memcpy(frame.data(), &header, sizeof header);
  }
  // To 02:00:00:00:00:01 from …:02, which no interface has.
  frame[12] = std::byte{2};
  frame[17] = std::byte{1};
  frame[18] = std::byte{2};
  frame[23] = std::byte{2};
  put16(frame, 24, 0x0800);
  frame[kIpOffset] = std::byte{0x45};
  put16(frame, kIpOffset + 2, frame.size() - kIpOffset);
  frame[kIpOffset + 8] = std::byte{64};
  frame[kIpOffset + 9] = std::byte{6};
  const std::array<std::byte, 8> addresses{std::byte{192}, std::byte{0}, std::byte{2}, std::byte{1},
                                           std::byte{192}, std::byte{0}, std::byte{2}, std::byte{2}};
  std::copy(addresses.begin(), addresses.end(), frame.begin() + kIpOffset + 12);
  put16(frame, kTcpOffset, 5001);
  put16(frame, kTcpOffset + 2, 5001);
  frame[kTcpOffset + 12] = std::byte{0x50};
  frame[kTcpOffset + 13] = std::byte{0x10};
}

void stamp(std::span<const iovec> pieces, std::size_t bytes, std::uint64_t number) {
  std::memcpy(static_cast<std::byte*>(pieces.front().iov_base) + kNumberOffset, &number, sizeof number);
  const auto* const from = reinterpret_cast<const std::byte*>(&number);
  for_tail(pieces, bytes,
           [from](std::byte* to, std::size_t done, std::size_t part) { std::memcpy(to, from + done, part); });
}

std::optional<std::uint64_t> read_number(std::span<const std::byte> start) {
  std::uint64_t number = 0;
  if (start.size() < kNumberOffset + sizeof number) {
    return std::nullopt;
  }
  std::memcpy(&number, start.data() + kNumberOffset, sizeof number);
  return number;
}

std::optional<std::uint64_t> read_stamp(std::span<const iovec> pieces, std::size_t bytes) {
  if (pieces.empty() || bytes < kMinNumberedBytes) {
    return std::nullopt;
  }
  const auto number =
      read_number({static_cast<const std::byte*>(pieces.front().iov_base), pieces.front().iov_len});
  std::uint64_t tail = 0;
  auto* const into = reinterpret_cast<std::byte*>(&tail);
  for_tail(pieces, bytes, [into](const std::byte* from, std::size_t done, std::size_t part) {
    std::memcpy(into + done, from, part);
  });
  return number == tail ? number : std::nullopt;
}

std::vector<iovec> pieces_at(std::byte* start, std::size_t bytes, std::size_t piece_bytes,
                             std::size_t stride) {
  std::vector<iovec> pieces;
  while (bytes != 0) {
    const std::size_t size = piece_bytes == 0 ? bytes : std::min(bytes, piece_bytes);
    pieces.push_back({start, size});
    bytes -= size;
    start += stride;
  }
  return pieces;
}

}  // namespace tapir::bench
