// SPDX-License-Identifier: Apache-2.0
#include "virtio/descriptor_chain.h"

#include <algorithm>

namespace tapir::virtio {
namespace {

/// virtio 1.3, 2.7.5.2 Driver Requirements: The Virtqueue Descriptor Table.
constexpr std::uint64_t kMaxChainBytes = std::uint64_t{1} << 32;

}  // namespace

ChainAssembler::ChainAssembler(const GuestMemory& memory, std::span<iovec> storage)
    : memory_(memory), storage_(storage.first(std::min(storage.size(), kMaxChainPieces))) {}

ChainFault ChainAssembler::add(GuestAddress address, std::uint32_t bytes, bool writable) {
  if (bytes == 0) {
    return ChainFault::kNone;
  }
  if (!writable && writable_bytes_ != 0) {
    return ChainFault::kOrder;
  }
  const auto host = memory_.slice(address, bytes);
  if (!host) {
    return ChainFault::kAddress;
  }
  std::uint64_t& sum = writable ? writable_bytes_ : readable_bytes_;
  sum += bytes;
  if (readable_bytes_ + writable_bytes_ > kMaxChainBytes) {
    return ChainFault::kTooLarge;
  }

  // The first writable piece never merges: the two directions stay apart.
  const bool first_of_kind = writable && pieces_ == readable_pieces_;
  if (pieces_ != 0 && !first_of_kind) {
    iovec& last = storage_[pieces_ - 1];
    if (static_cast<std::byte*>(last.iov_base) + last.iov_len == host->data()) {
      last.iov_len += bytes;
      return ChainFault::kNone;
    }
  }
  if (pieces_ == storage_.size()) {
    return ChainFault::kTooManyPieces;
  }
  storage_[pieces_] = {host->data(), bytes};
  ++pieces_;
  if (!writable) {
    ++readable_pieces_;
  }
  return ChainFault::kNone;
}

DescriptorChain ChainAssembler::finish(std::uint16_t head, std::uint16_t ring_descriptors, ChainFault fault) {
  DescriptorChain chain;
  DescriptorChain::Parts& parts = chain.parts_;
  parts.open = true;
  parts.head = head;
  parts.ring_descriptors = ring_descriptors;
  parts.fault = fault;
  parts.pieces = storage_.data();
  if (fault == ChainFault::kNone) {
    parts.readable_pieces = static_cast<std::uint16_t>(readable_pieces_);
    parts.writable_pieces = static_cast<std::uint16_t>(pieces_ - readable_pieces_);
    parts.readable_bytes = readable_bytes_;
    parts.writable_bytes = writable_bytes_;
  }
  return chain;
}

}  // namespace tapir::virtio
