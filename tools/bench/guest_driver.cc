// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/guest_driver.h"

#include <linux/virtio_config.h>

#include <utility>

#include "net/base/check.h"
#include "net/vnet_header.h"

namespace tapir::bench {
namespace {

using virtio::testing::DriverQueue;

constexpr std::uint16_t kSize = FrameSlots::kSlots;
constexpr std::uint64_t kTables = 0x10000;
constexpr std::size_t kTableEntries = 32;

bool event_index(std::uint64_t features) {
  return (features >> VIRTIO_RING_F_EVENT_IDX & 1U) != 0;
}

}  // namespace

Result<std::unique_ptr<GuestDriver>> GuestDriver::create(const FrameMix& mix, const Shape& shape,
                                                         std::uint64_t features) {
  TAPIR_TRY_ASSIGN(auto memory, virtio::GuestMemory::create(FrameSlots::kMemoryBytes));
  return std::unique_ptr<GuestDriver>(new GuestDriver(std::move(memory), mix, shape, features));
}

GuestDriver::GuestDriver(virtio::GuestMemory memory, const FrameMix& mix, const Shape& shape,
                         std::uint64_t features)
    : memory_(std::move(memory)),
      features_(features),
      slots_(memory_, mix, shape),
      receive_(memory_, DriverQueue::place(0, kSize), event_index(features)),
      transmit_(memory_, DriverQueue::place(DriverQueue::end_of(0, kSize), kSize), event_index(features)) {
  write_transmit_chains();
  write_receive_buffers();
  disable_interrupts(kReceiveQueue);
  disable_interrupts(kTransmitQueue);
}

void GuestDriver::write_transmit_chains() {
  for (std::uint16_t slot = 0; slot < kSize; ++slot) {
    const auto pieces = slots_.transmit(slot);
    const auto bytes = static_cast<std::uint32_t>(pieces.front().iov_len);
    if (pieces.size() == 1) {
      transmit_.write_descriptor(slot, {slots_.address_of(pieces.front()), bytes, 0, 0});
      continue;
    }
    CHECK(pieces.size() <= kTableEntries);
    const std::uint64_t table = kTables + slot * kTableEntries * sizeof(vring_desc);
    std::vector<virtio::testing::ChainBuilder::Element> elements;
    for (const iovec& piece : pieces) {
      elements.push_back({slots_.address_of(piece), static_cast<std::uint32_t>(piece.iov_len), 0});
    }
    virtio::testing::write_indirect_table(memory_, table, elements);
    transmit_.write_descriptor(slot, {table, static_cast<std::uint32_t>(elements.size() * sizeof(vring_desc)),
                                      VRING_DESC_F_INDIRECT, 0});
  }
}

void GuestDriver::write_receive_buffers() {
  for (std::uint16_t buffer = 0; buffer < kSize; ++buffer) {
    const iovec& piece = slots_.receive(buffer, 1).front();
    receive_.write_descriptor(
        buffer, {slots_.address_of(piece), static_cast<std::uint32_t>(piece.iov_len), VRING_DESC_F_WRITE, 0});
  }
}

virtio::Activation GuestDriver::activation() {
  virtio::Activation activation;
  activation.features = features_;
  activation.notifier = this;
  auto receive = virtio::SplitQueue::create(memory_, receive_.layout(), features_);
  auto transmit = virtio::SplitQueue::create(memory_, transmit_.layout(), features_);
  CHECK(receive && transmit);
  activation.queues.push_back({kReceiveQueue, *std::move(receive), receive_kick_.fd()});
  activation.queues.push_back({kTransmitQueue, *std::move(transmit), transmit_kick_.fd()});
  return activation;
}

void GuestDriver::publish(DriverQueue& queue, const EventFd& kick) {
  if (queue.publish()) {
    ++kicks_;
    kick.signal();
  }
}

void GuestDriver::send(std::uint64_t first_number, unsigned frames) {
  CHECK(frames <= free_frames());
  for (unsigned i = 0; i < frames; ++i) {
    const std::uint64_t slot = next_slot_ + i;
    stamp(slots_.transmit(slot), slots_.transmit_bytes(slot), first_number + i);
    transmit_.add_raw_head(static_cast<std::uint16_t>(slot % kSize));
  }
  next_slot_ += frames;
  in_flight_ += frames;
  publish(transmit_, transmit_kick_);
}

unsigned GuestDriver::reclaim() {
  unsigned count = 0;
  while (const auto used = transmit_.take_used()) {
    CHECK(used->head == reclaimed_ % kSize);  // this device uses chains in order
    ++reclaimed_;
    ++count;
  }
  in_flight_ -= count;
  return count;
}

void GuestDriver::post_all() {
  if (posted_ == kSize) {
    return;
  }
  for (; posted_ < kSize; ++posted_) {
    receive_.add_raw_head(static_cast<std::uint16_t>(next_buffer_ % kSize));
    ++next_buffer_;
  }
  publish(receive_, receive_kick_);
}

std::optional<GuestDriver::Arrival> GuestDriver::next_arrival() {
  const auto first = receive_.take_used();
  if (!first) {
    return std::nullopt;
  }
  CHECK(first->head == next_used_ % kSize);
  Arrival arrival{first->head, 1, first->bytes, true};
  const auto header = net::copy_vnet_header(slots_.receive(first->head, 1));
  arrival.buffers = header ? header->num_buffers : std::uint16_t{0};
  arrival.sound = arrival.buffers != 0 && arrival.buffers <= kSize;
  for (std::uint16_t i = 1; arrival.sound && i < arrival.buffers; ++i) {
    const auto next = receive_.take_used();
    arrival.sound = next.has_value();
    arrival.bytes += next ? next->bytes : 0;
  }
  const unsigned taken = arrival.sound ? arrival.buffers : 1;
  next_used_ += taken;
  posted_ -= taken;
  return arrival;
}

unsigned GuestDriver::receive(SequenceChecker& checker) {
  unsigned count = 0;
  while (const auto arrival = next_arrival()) {
    const auto number = arrival->sound
                            ? read_stamp(slots_.receive(arrival->buffer, arrival->buffers), arrival->bytes)
                            : std::nullopt;
    if (number) {
      checker.see(*number);
    } else {
      checker.see_damaged();
    }
    ++count;
  }
  return count;
}

unsigned GuestDriver::forget_received() {
  unsigned count = 0;
  while (next_arrival()) {
    ++count;
  }
  return count;
}

void GuestDriver::enable_sent_interrupt() {
  if (event_index(features_)) {
    transmit_.set_used_event(static_cast<std::uint16_t>(reclaimed_ + in_flight_ * 3 / 4));
  }
}

void GuestDriver::notify_queue(std::uint16_t queue) {
  interrupts_.fetch_add(1, std::memory_order_relaxed);
  if (handler_) {
    handler_(queue);
  }
}

}  // namespace tapir::bench
