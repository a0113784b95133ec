// SPDX-License-Identifier: Apache-2.0
#include "virtio/descriptor_chain.h"

#include <algorithm>

#include "net/base/check.h"

namespace tapir::virtio {
namespace {

/// virtio 1.3, 2.7.5.2 Driver Requirements: The Virtqueue Descriptor Table.
constexpr std::uint64_t kMaxChainBytes = std::uint64_t{1} << 32;

}  // namespace

DescriptorChain::~DescriptorChain() {
#ifndef NDEBUG
  CHECK(!open_);
#endif
}

void DescriptorChain::swap(DescriptorChain& other) noexcept {
  std::swap(pieces_, other.pieces_);
  std::swap(readable_bytes_, other.readable_bytes_);
  std::swap(writable_bytes_, other.writable_bytes_);
  std::swap(readable_pieces_, other.readable_pieces_);
  std::swap(writable_pieces_, other.writable_pieces_);
  std::swap(ring_descriptors_, other.ring_descriptors_);
  std::swap(head_, other.head_);
  std::swap(fault_, other.fault_);
  std::swap(open_, other.open_);
}

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
  chain.open_ = true;
  chain.head_ = head;
  chain.ring_descriptors_ = ring_descriptors;
  chain.fault_ = fault;
  chain.pieces_ = storage_.data();
  if (fault == ChainFault::kNone) {
    chain.readable_pieces_ = static_cast<std::uint16_t>(readable_pieces_);
    chain.writable_pieces_ = static_cast<std::uint16_t>(pieces_ - readable_pieces_);
    chain.readable_bytes_ = readable_bytes_;
    chain.writable_bytes_ = writable_bytes_;
  }
  return chain;
}

}  // namespace tapir::virtio
