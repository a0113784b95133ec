// SPDX-License-Identifier: Apache-2.0
#include "virtio/net_receiver.h"

#include <linux/virtio_config.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "net/base/check.h"
#include "virtio/net_features.h"

namespace tapir::virtio {
namespace {

/// The driver sees used buffers at least this often, so that it can begin to work on a long burst.
constexpr unsigned kFlushEvery = 64;

/// The longest run of pieces that a frame may use, one more chain of the longest kind, and room to move on
/// before they have to be moved back to the front.
constexpr std::size_t kPieces = 4 * kMaxChainPieces;

/// Ethernet header with two VLAN tags (802.1ad): what may come on top of the MTU.
constexpr std::size_t kLinkHeaderBytes = 22;

}  // namespace

NetReceiver::NetReceiver(NetQueue queue, std::uint64_t features, std::uint16_t mtu, bool vnet_header,
                         PublishedRules& rules)
    : queue_(std::move(queue)),
      rules_(rules),
      mtu_(has_feature(features, VIRTIO_NET_F_MTU) ? mtu : std::uint16_t{0}),
      mergeable_(has_feature(features, VIRTIO_NET_F_MRG_RXBUF)),
      in_order_(has_feature(features, VIRTIO_F_IN_ORDER)),
      own_header_bytes_(vnet_header ? 0 : net::kVnetHeaderBytes),
      held_(std::bit_ceil(unsigned{queue_.ring.size()})),
      pieces_(kPieces),
      space_(vnet_header ? 0 : kMaxChainPieces) {}

TurnEnd NetReceiver::run(net::FrameIo& io, net::Budget budget) {
  queue_.ring.disable_kicks();
  const net::ReceiveEnd end = io.receive(*this, budget);
  if (end == net::ReceiveEnd::kStarved) {
    queue_.flush_now();
  } else {
    queue_.flush();
  }
  unflushed_ = 0;
  if (queue_.ring.broken()) {
    return TurnEnd::kBroken;
  }
  switch (end) {
    case net::ReceiveEnd::kDrained:
      return TurnEnd::kIdle;
    case net::ReceiveEnd::kBudget:
      return TurnEnd::kMore;
    case net::ReceiveEnd::kGone:
      return TurnEnd::kGone;
    case net::ReceiveEnd::kStarved:
      break;
  }
  // Buffers that came since the last look bring no kick.
  if (queue_.ring.enable_kicks()) {
    return TurnEnd::kMore;
  }
  if (queue_.ring.broken()) {
    return TurnEnd::kBroken;
  }
  queue_.counters.starved.add(1);
  return TurnEnd::kBlocked;
}

bool NetReceiver::may_hold_more() {
  if (end_piece_ - first_piece_ >= kMaxChainPieces) {
    return false;
  }
  // Without MRG_RXBUF a frame is one chain (virtio 1.3, 5.1.6.3.2).
  if (held_count_ == 0) {
    return true;
  }
  // A driver whose ring has no room for another chain like its first will post no more before one is used;
  // waiting for it would be for ever.
  return mergeable_ && !refused_ && queue_.ring.free_descriptors() >= held(0).chain.ring_descriptors();
}

bool NetReceiver::hold_chain() {
  if (refused_) {
    queue_.refuse(*std::exchange(refused_, std::nullopt));
    return true;
  }
  if (pieces_.size() - end_piece_ < kMaxChainPieces) {
    std::copy(pieces_.begin() + static_cast<std::ptrdiff_t>(first_piece_),
              pieces_.begin() + static_cast<std::ptrdiff_t>(end_piece_), pieces_.begin());
    end_piece_ -= first_piece_;
    first_piece_ = 0;
  }
  auto chain = queue_.ring.pop(std::span(pieces_).subspan(end_piece_));
  if (!chain) {
    return false;
  }
  // Too small for the header (virtio 1.3, 5.1.6.3.1 forbids it), and num_buffers must go into the first
  // chain.
  if (chain->fault() != ChainFault::kNone || chain->writable_bytes() < net::kVnetHeaderBytes) {
    if (in_order_ && held_count_ != 0) {
      // Nothing is held behind it, so that no frame can lie on both sides of it.
      refused_ = std::move(chain);
      return false;
    }
    queue_.refuse(*std::move(chain));
    return true;
  }
  // A driver has no business with readable buffers here; they stand in front and are left out.
  const auto writable = chain->writable();
  if (!chain->readable().empty()) {
    std::copy(writable.begin(), writable.end(), pieces_.begin() + static_cast<std::ptrdiff_t>(end_piece_));
  }
  Held& added = held(held_count_);
  ++held_count_;
  added.pieces = writable.size();
  added.bytes = chain->writable_bytes();
  added.chain = *std::move(chain);
  end_piece_ += added.pieces;
  held_bytes_ += added.bytes;
  return true;
}

net::ReceiveSpace NetReceiver::acquire(std::size_t bytes) {
  const std::size_t wanted = bytes + own_header_bytes_;
  // Refused chains count too, so a driver that posts rubbish as fast as it is refused cannot hold the thread.
  for (unsigned pops = 0; held_bytes_ < wanted && may_hold_more() && pops < queue_.ring.size(); ++pops) {
    if (!hold_chain()) {
      break;
    }
  }
  // No more pieces than the frame can need: each one costs the kernel time at every read. And none of a
  // second chain without MRG_RXBUF, nor more than a system call takes.
  const std::size_t available = std::min(end_piece_ - first_piece_, kMaxChainPieces);
  std::size_t pieces = 0;
  std::size_t sum = 0;
  while (pieces < available && sum < wanted) {
    sum += pieces_[first_piece_ + pieces].iov_len;
    ++pieces;
  }
  const auto space = std::span(pieces_).subspan(first_piece_, pieces);
  if (own_header_bytes_ == 0 || pieces == 0) {
    return {space, sum, may_hold_more()};
  }
  std::size_t skip = own_header_bytes_;
  std::size_t kept = 0;
  for (const iovec& piece : space) {
    const std::size_t skipped = std::min(skip, piece.iov_len);
    skip -= skipped;
    if (skipped < piece.iov_len) {
      space_[kept] = {static_cast<std::byte*>(piece.iov_base) + skipped, piece.iov_len - skipped};
      ++kept;
    }
  }
  return {std::span(space_).first(kept), sum - own_header_bytes_, may_hold_more()};
}

bool NetReceiver::may_deliver(const net::VnetHeader& header, std::size_t frame_bytes) {
  const std::uint64_t features = rules_.get().features;
  // A checksum that nobody would complete. A tap makes no such frame, but had made it when the driver has
  // just switched the offload off.
  const bool needs_checksum = (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
  if (!may_receive_gso(header.gso_type, features) ||
      (needs_checksum && !has_feature(features, VIRTIO_NET_F_GUEST_CSUM))) {
    return refuse_frame(queue_.counters.bad_header);
  }
  // virtio 1.3, 5.1.4.1: after MTU was negotiated, nothing longer without segmentation.
  if (mtu_ != 0 && header.gso_type == VIRTIO_NET_HDR_GSO_NONE && frame_bytes > mtu_ + kLinkHeaderBytes) {
    return refuse_frame(queue_.counters.bad_length);
  }
  return true;
}

bool NetReceiver::refuse_frame(Counter& reason) {
  queue_.counters.dropped.add(1);
  reason.add(1);
  return false;
}

bool NetReceiver::wanted(std::size_t frame_bytes) {
  const ReceiveFilter& filter = rules_.get().filter;
  if (filter.accepts_everything()) {
    return true;
  }
  std::array<std::byte, ReceiveFilter::kHeadBytes> head;
  const std::size_t size = std::min(frame_bytes, head.size());
  std::size_t skip = net::kVnetHeaderBytes;
  std::size_t copied = 0;
  for (std::size_t i = first_piece_; copied != size; ++i) {
    const iovec& piece = pieces_[i];
    const std::size_t skipped = std::min(skip, piece.iov_len);
    skip -= skipped;
    const std::size_t taken = std::min(size - copied, piece.iov_len - skipped);
    std::memcpy(head.data() + copied, static_cast<const std::byte*>(piece.iov_base) + skipped, taken);
    copied += taken;
  }
  return filter.accepts(std::span(head).first(size));
}

void NetReceiver::store_header(const net::VnetHeader& header) {
  const auto* from = reinterpret_cast<const std::byte*>(&header);
  std::size_t left = net::kVnetHeaderBytes;
  for (std::size_t i = first_piece_; left != 0; ++i) {
    const std::size_t size = std::min(left, pieces_[i].iov_len);
    std::memcpy(pieces_[i].iov_base, from, size);
    from += size;
    left -= size;
  }
}

void NetReceiver::end_front_chain(std::uint64_t bytes) {
  Held& front = held(0);
  ++first_held_;
  --held_count_;
  first_piece_ += front.pieces;
  held_bytes_ -= front.bytes;
  queue_.ring.add_used(std::move(front.chain), static_cast<std::uint32_t>(bytes));
  ++unflushed_;
}

void NetReceiver::commit(std::size_t bytes) {
  const std::uint64_t total = bytes + own_header_bytes_;
  CHECK(total <= held_bytes_);
  // The backend's header lies in guest memory by now. This copy decides, and is what the driver will find
  // there, unless the guest changes its own memory.
  net::VnetHeader header{};
  if (own_header_bytes_ == 0) {
    const auto copy =
        net::copy_vnet_header(std::span(pieces_).subspan(first_piece_, end_piece_ - first_piece_));
    header = copy.value_or(header);
  }
  const bool whole = total >= net::kMinFrameBytes || refuse_frame(queue_.counters.bad_length);
  if (!whole || !may_deliver(header, total - net::kVnetHeaderBytes)) {
    return;  // the chains stay for the next frame
  }
  if (!wanted(total - net::kVnetHeaderBytes)) {
    queue_.counters.filtered.add(1);
    return;
  }

  std::uint16_t buffers = 0;
  std::uint64_t room = 0;
  while (room < total) {
    room += held(buffers).bytes;
    ++buffers;
  }
  // virtio 1.3, 5.1.6.4.1: 1 without MRG_RXBUF, else the buffers that the frame is spread over. No flags at
  // all without GUEST_CSUM, not even that the checksum is known to be good.
  header.num_buffers = buffers;
  if (has_feature(rules_.get().features, VIRTIO_NET_F_GUEST_CSUM)) {
    header.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID;
  } else {
    header.flags = 0;
  }
  store_header(header);
  queue_.counters.frames.add(1);
  queue_.counters.bytes.add(total - net::kVnetHeaderBytes);
  // All but the last are full. None is shown before the whole frame is there: flush() is one step.
  for (std::uint64_t left = total; left != 0;) {
    const std::uint64_t used = std::min(left, held(0).bytes);
    left -= used;
    end_front_chain(used);
  }
  if (unflushed_ >= kFlushEvery) {
    queue_.flush();
    unflushed_ = 0;
  }
}

void NetReceiver::stop() {
  for (; held_count_ != 0; --held_count_) {
    queue_.ring.abandon(std::move(held(held_count_ - 1).chain));
  }
  if (refused_) {
    queue_.ring.abandon(*std::exchange(refused_, std::nullopt));
  }
}

}  // namespace tapir::virtio
