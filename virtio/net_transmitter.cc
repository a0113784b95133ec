// SPDX-License-Identifier: Apache-2.0
#include "virtio/net_transmitter.h"

#include <algorithm>
#include <utility>

#include "virtio/net_features.h"

namespace tapir::virtio {
namespace {

/// Room for a batch of usual frames and always for one of the longest chain, with a place for its header.
constexpr std::size_t kPieces = 2 * (kMaxChainPieces + 1);

}  // namespace

NetTransmitter::NetTransmitter(NetQueue queue, std::uint64_t features, bool vnet_header)
    : queue_(std::move(queue)),
      features_(features),
      vnet_header_(vnet_header),
      headers_{},
      pieces_(kPieces) {}

TurnEnd NetTransmitter::run(net::FrameIo& io, net::Budget budget) {
  Taken total;
  queue_.ring.disable_kicks();
  for (;;) {
    // What is left of an earlier turn goes first.
    if (count_ != 0 && !send(io)) {
      return TurnEnd::kBlocked;
    }
    if (total.chains >= budget.frames || total.bytes >= budget.bytes) {
      return TurnEnd::kMore;
    }
    const Taken taken = fill(budget.frames - total.chains);
    total.chains += taken.chains;
    total.bytes += taken.bytes;
    if (count_ != 0) {
      continue;
    }
    queue_.flush();
    if (taken.chains == 0) {
      if (!queue_.ring.enable_kicks()) {
        return queue_.ring.broken() ? TurnEnd::kBroken : TurnEnd::kIdle;
      }
      queue_.ring.disable_kicks();
    }
  }
}

NetTransmitter::Taken NetTransmitter::fill(unsigned limit) {
  Taken taken;
  while (taken.chains < limit && count_ < kBatch && pieces_.size() - pieces_used_ > kMaxChainPieces) {
    // The place before the pieces is for the header, when it shares its first piece with the frame.
    const std::size_t first = pieces_used_ + 1;
    auto chain = queue_.ring.pop(std::span(pieces_).subspan(first));
    if (!chain) {
      break;
    }
    ++taken.chains;
    const bool faulty = chain->fault() != ChainFault::kNone;
    taken.bytes += chain->readable_bytes();
    if (!faulty && add_frame(*chain, first)) {
      chains_[count_] = *std::move(chain);
      ++count_;
      continue;
    }
    if (faulty) {
      queue_.counters.bad_chains.add(1);
    }
    if (count_ != 0) {
      unsendable_ = std::move(chain);
      break;
    }
    queue_.ring.add_used(*std::move(chain), 0);
  }
  return taken;
}

bool NetTransmitter::add_frame(const DescriptorChain& chain, std::size_t first) {
  if (chain.readable_bytes() < net::kVnetHeaderBytes + kMinFrameBytes ||
      chain.readable_bytes() > net::kVnetHeaderBytes + kMaxFrameBytes) {
    return refuse_frame(queue_.counters.bad_length);
  }
  // The kernel gets this copy, so the guest cannot change the header between the check and the use.
  const auto header = net::copy_vnet_header(chain.readable());
  if (!header) {
    return refuse_frame(queue_.counters.bad_header);
  }
  headers_[count_] = *header;
  const std::uint64_t frame_bytes = chain.readable_bytes() - net::kVnetHeaderBytes;
  if (!sanitise_transmit_header(headers_[count_], frame_bytes, features_)) {
    return refuse_frame(queue_.counters.bad_header);
  }

  const std::size_t end = first + chain.readable().size();
  std::size_t skip = net::kVnetHeaderBytes;
  while (skip >= pieces_[first].iov_len) {
    skip -= pieces_[first].iov_len;
    ++first;
  }
  pieces_[first].iov_base = static_cast<std::byte*>(pieces_[first].iov_base) + skip;
  pieces_[first].iov_len -= skip;
  if (vnet_header_) {
    --first;
    pieces_[first] = {&headers_[count_], net::kVnetHeaderBytes};
  }
  if (end - first > kMaxChainPieces) {
    return refuse_frame(queue_.counters.bad_length);
  }
  frames_[count_].iov = std::span(pieces_).subspan(first, end - first);
  frames_[count_].bytes = frame_bytes + (vnet_header_ ? net::kVnetHeaderBytes : 0);
  frames_[count_].error = 0;
  pieces_used_ = end;
  return true;
}

bool NetTransmitter::refuse_frame(Counter& reason) {
  queue_.counters.dropped.add(1);
  reason.add(1);
  return false;
}

bool NetTransmitter::send(net::FrameIo& io) {
  const std::size_t header_bytes = vnet_header_ ? net::kVnetHeaderBytes : 0;
  const std::size_t end = sent_ + io.transmit(std::span(frames_).subspan(sent_, count_ - sent_));
  for (; sent_ < end; ++sent_) {
    if (frames_[sent_].error == 0) {
      queue_.counters.frames.add(1);
      queue_.counters.bytes.add(frames_[sent_].bytes - header_bytes);
    } else {
      queue_.counters.dropped.add(1);
    }
    queue_.ring.add_used(std::move(chains_[sent_]), 0);
  }
  if (sent_ == count_ && unsendable_) {
    queue_.ring.add_used(*std::exchange(unsendable_, std::nullopt), 0);
  }
  queue_.flush();
  if (sent_ < count_) {
    return false;
  }
  count_ = 0;
  sent_ = 0;
  pieces_used_ = 0;
  return true;
}

void NetTransmitter::stop() {
  for (; sent_ < count_; ++sent_) {
    queue_.ring.abandon(std::move(chains_[sent_]));
  }
  if (unsendable_) {
    queue_.ring.abandon(*std::exchange(unsendable_, std::nullopt));
  }
}

}  // namespace tapir::virtio
