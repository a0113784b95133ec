// SPDX-License-Identifier: Apache-2.0
#include "virtio/testing/net_driver.h"

#include <linux/virtio_config.h>
#include <poll.h>

#include <algorithm>
#include <cstring>

#include "net/base/check.h"
#include "virtio/net_features.h"
#include "virtio/testing/driver_queue.h"
#include "virtio/testing/packed_driver_queue.h"

namespace tapir::virtio::testing {
namespace {

constexpr std::uint64_t kReceiveRings = 0x10000;
constexpr std::uint64_t kTransmitRings = 0x20000;
constexpr std::uint64_t kControlRings = 0x30000;
constexpr std::uint64_t kReceiveBuffers = std::uint64_t{1} << 20;
constexpr std::uint64_t kTransmitBuffers = std::uint64_t{32} << 20;
constexpr unsigned kTransmitBufferCount = 256;
constexpr auto kPatience = std::chrono::seconds(10);

}  // namespace

void RecordingNotifier::notify_queue(std::uint16_t queue) {
  ++queues_[queue];
  event_.signal();
}

void RecordingNotifier::notify_config() {
  ++config_;
  event_.signal();
}

void RecordingNotifier::set_needs_reset() {
  needs_reset_ = true;
  event_.signal();
}

bool RecordingNotifier::wait_until(const std::function<bool()>& done) const {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    // Not every change is a notification, so look again now and then.
    pollfd event{event_.fd(), POLLIN, 0};
    ::poll(&event, 1, 20);
    event_.clear();
  }
  return true;
}

NetDriver::NetDriver(const GuestMemory& memory, std::uint64_t features, std::uint16_t queue_size,
                     const Pair& pair)
    : memory_(memory),
      features_(features),
      queue_size_(queue_size),
      pair_(pair),
      memory_start_(pair.number * kMemoryBytes),
      notifier_(pair.notifier != nullptr ? *pair.notifier : own_notifier_) {}

std::unique_ptr<DriverEnd> NetDriver::make_queue(std::uint64_t rings, std::uint16_t size) const {
  const bool event_index = has_feature(features_, VIRTIO_RING_F_EVENT_IDX);
  if (has_feature(features_, VIRTIO_F_RING_PACKED)) {
    return std::make_unique<PackedDriverQueue>(memory_, PackedDriverQueue::place(rings, size), event_index);
  }
  return std::make_unique<DriverQueue>(memory_, DriverQueue::place(rings, size), event_index);
}

Activation NetDriver::activation() {
  Activation activation;
  activation.features = features_;
  activation.notifier = &notifier_;
  const auto first = static_cast<std::uint16_t>(2U * pair_.number);
  activation.queues.push_back(renew_queue(first, queue_size_));
  activation.queues.push_back(renew_queue(static_cast<std::uint16_t>(first + 1), queue_size_));
  if (pair_.number == 0 && has_feature(features_, VIRTIO_NET_F_CTRL_VQ)) {
    activation.queues.push_back(renew_queue(static_cast<std::uint16_t>(2U * pair_.count), kControlQueueSize));
  }
  return activation;
}

ActiveQueue NetDriver::renew_queue(std::uint16_t index, std::uint16_t size) {
  constexpr std::array<std::uint64_t, 3> kPlaces{kReceiveRings, kTransmitRings, kControlRings};
  const unsigned place = index == 2U * pair_.count ? 2U : index % 2U;
  std::unique_ptr<DriverEnd>& driver = place == 0 ? receive_ : place == 1 ? transmit_ : control_;
  const EventFd& kick = place == 0 ? receive_kick_ : place == 1 ? transmit_kick_ : control_kick_;
  driver = make_queue(memory_start_ + kPlaces.at(place), size);
  if (place == 0) {
    posted_.assign(size, {});
    free_receive_.clear();
    for (unsigned i = 0; i < size; ++i) {
      free_receive_.push_back(memory_start_ + kReceiveBuffers + std::uint64_t{i} * kBufferBytes);
    }
  } else if (place == 1) {
    in_flight_ = 0;
  }
  auto queue = Virtqueue::create(memory_, driver->layout(), features_);
  CHECK(queue.has_value());
  return {index, *std::move(queue), kick.fd()};
}

unsigned NetDriver::post(unsigned count, std::uint32_t bytes) {
  unsigned posted = 0;
  for (; posted < count && !free_receive_.empty() && receive_->free_descriptors() > 0; ++posted) {
    const std::uint64_t address = free_receive_.back();
    const auto host = memory_.slice(GuestAddress{address}, bytes);
    CHECK(host.has_value());
    std::fill(host->begin(), host->end(), std::byte{0xAA});
    const auto head = receive_->add(ChainBuilder().writable(address, bytes));
    free_receive_.pop_back();
    posted_[*head] = {address, bytes};
  }
  kick_receive();
  return posted;
}

void NetDriver::kick_receive() {
  if (receive_->publish()) {
    receive_kick_.signal();
  }
}

std::optional<NetDriver::Received> NetDriver::receive() {
  Received received;
  for (unsigned buffers = 1; received.used_bytes.size() < buffers;) {
    const auto used = receive_->take_used();
    if (!used) {
      // All buffers of a frame appear together (virtio 1.3, 5.1.6.4.1).
      CHECK(received.used_bytes.empty());
      return std::nullopt;
    }
    const Buffer buffer = posted_[used->head];
    free_receive_.push_back(buffer.address);
    CHECK(used->bytes <= buffer.bytes);
    std::vector<std::byte> bytes(used->bytes);
    CHECK(memory_.read(GuestAddress{buffer.address}, bytes));
    if (received.used_bytes.empty() && bytes.size() >= net::kVnetHeaderBytes) {
      std::memcpy(&received.header, bytes.data(), net::kVnetHeaderBytes);
      bytes.erase(bytes.begin(), bytes.begin() + net::kVnetHeaderBytes);
      buffers = received.header.num_buffers;
    }
    received.frame.insert(received.frame.end(), bytes.begin(), bytes.end());
    received.used_bytes.push_back(used->bytes);
  }
  return received;
}

std::optional<NetDriver::Received> NetDriver::wait_for_frame() {
  std::optional<Received> received;
  notifier_.wait_until([&] {
    received = receive();
    return received.has_value() || (receive_->enable_interrupts() && (received = receive()).has_value());
  });
  return received;
}

bool NetDriver::send(const net::VnetHeader& header, std::span<const std::byte> frame,
                     std::span<const std::uint32_t> cuts) {
  std::vector<std::byte> bytes(net::kVnetHeaderBytes + frame.size());
  std::memcpy(bytes.data(), &header, net::kVnetHeaderBytes);
  std::copy(frame.begin(), frame.end(), bytes.begin() + net::kVnetHeaderBytes);
  return send_raw(bytes, cuts);
}

bool NetDriver::send_raw(std::span<const std::byte> bytes, std::span<const std::uint32_t> cuts) {
  CHECK(bytes.size() <= kBufferBytes);
  const std::uint64_t address =
      memory_start_ + kTransmitBuffers + std::uint64_t{next_transmit_} * kBufferBytes;
  ChainBuilder chain;
  std::uint64_t at = address;
  auto left = static_cast<std::uint32_t>(bytes.size());
  for (const std::uint32_t cut : cuts) {
    const std::uint32_t size = std::min(cut, left);
    chain.readable(at, size);
    at += size;
    left -= size;
  }
  if (left != 0 || cuts.empty()) {
    chain.readable(at, left);
  }
  if (chain.elements().size() > transmit_->free_descriptors()) {
    return false;  // before the write: the buffer's last frame may still be on its way
  }
  CHECK(memory_.write(GuestAddress{address}, bytes));
  CHECK(transmit_->add(chain).has_value());
  next_transmit_ = (next_transmit_ + 1) % kTransmitBufferCount;
  ++in_flight_;
  kick_transmit();
  return true;
}

void NetDriver::kick_transmit() {
  if (transmit_->publish()) {
    transmit_kick_.signal();
  }
}

void NetDriver::force_kicks() {
  receive_kick_.signal();
  transmit_kick_.signal();
  control_kick_.signal();
}

std::optional<std::uint8_t> NetDriver::command(std::uint8_t command_class, std::uint8_t command,
                                               std::span<const std::byte> data) {
  CHECK(data.size() <= kCommandBytes - sizeof(virtio_net_ctrl_hdr));
  const virtio_net_ctrl_hdr header{command_class, command};
  const std::uint64_t data_at = kCommandBuffer + sizeof header;
  CHECK(memory_.write_object(GuestAddress{kCommandBuffer}, header));
  ChainBuilder chain;
  chain.readable(kCommandBuffer, sizeof header);
  if (!data.empty()) {
    CHECK(memory_.write(GuestAddress{data_at}, data));
    chain.readable(data_at, static_cast<std::uint32_t>(data.size()));
  }
  return command_raw(chain.writable(kAnswerBuffer, 1), kAnswerBuffer);
}

std::optional<std::uint8_t> NetDriver::command_raw(const ChainBuilder& chain, std::uint64_t ack) {
  CHECK(memory_.write_object(GuestAddress{ack}, std::uint8_t{0xAA}));
  CHECK(control_->add(chain).has_value());
  if (control_->publish()) {
    control_kick_.signal();
  }
  std::optional<DriverEnd::Used> used;
  notifier_.wait_until([&] {
    used = control_->take_used();
    return used.has_value() || (control_->enable_interrupts() && (used = control_->take_used()).has_value());
  });
  if (!used || used->bytes != 1) {
    return std::nullopt;
  }
  return memory_.read_object<std::uint8_t>(GuestAddress{ack});
}

bool NetDriver::wait_until_sent() {
  return notifier_.wait_until([this] {
    do {
      while (const auto used = transmit_->take_used()) {
        CHECK(used->bytes == 0);
        --in_flight_;
      }
    } while (transmit_->enable_interrupts());
    return in_flight_ == 0;
  });
}

}  // namespace tapir::virtio::testing
