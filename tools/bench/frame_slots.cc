// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/frame_slots.h"

#include <array>

#include "net/base/check.h"
#include "net/frame_io.h"

namespace tapir::bench {
namespace {

constexpr std::size_t kPieceDistance = 8192;
constexpr std::size_t kSmallSlotBytes = 2048;

}  // namespace

FrameSlots::FrameSlots(const virtio::GuestMemory& memory, const FrameMix& mix, const Shape& shape)
    : host_(memory.regions().front().host.data()), mix_(mix) {
  CHECK(memory.size() >= kMemoryBytes && kSlots % mix.sizes.size() == 0);
  CHECK(shape.receive_buffer_bytes <= kMaxBufferBytes);
  // No larger than needed: memory that is registered with io_uring is limited.
  const std::uint64_t slot_bytes = mix.largest() <= kSmallSlotBytes ? kSmallSlotBytes : kMaxSlotBytes;
  const std::uint64_t receive = kTransmit + kSlots * slot_bytes;
  const std::uint64_t stride = (shape.receive_buffer_bytes + 63) / 64 * 64;
  end_ = receive + kSlots * stride;
  std::vector<std::byte> frame;
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    std::byte* const start = host_ + kTransmit + slot * slot_bytes;
    frame.resize(mix_.size_of(slot));
    write_frame(frame);
    auto pieces = pieces_at(start, frame.size(), shape.transmit_piece_bytes, kPieceDistance);
    std::size_t done = 0;
    for (const iovec& piece : pieces) {
      std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(done), piece.iov_len,
                  static_cast<std::byte*>(piece.iov_base));
      done += piece.iov_len;
    }
    transmit_.push_back(std::move(pieces));
  }
  for (std::size_t buffer = 0; buffer < std::size_t{2} * kSlots; ++buffer) {
    receive_.push_back({host_ + receive + (buffer % kSlots) * stride, shape.receive_buffer_bytes});
  }
}

std::size_t FrameSlots::buffers_for_any_frame() const {
  const std::size_t bytes = receive_.front().iov_len;
  return (net::kMaxReceiveBytes + bytes - 1) / bytes;
}

std::uint64_t FrameSlots::address_of(const iovec& piece) const {
  return static_cast<std::uint64_t>(static_cast<std::byte*>(piece.iov_base) - host_);
}

std::span<std::byte> FrameSlots::all() const {
  return {host_ + kTransmit, end_ - kTransmit};
}

}  // namespace tapir::bench
