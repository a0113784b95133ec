// SPDX-License-Identifier: Apache-2.0
// Driver and device on two threads that really sleep. A lost kick or a lost interrupt is a
// stall for ever, a torn or early index is a wrong byte or a broken queue. Most telling under ThreadSanitizer
// and at -O0.
#include <gtest/gtest.h>
#include <linux/virtio_config.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "net/base/event_fd.h"
#include "virtio/testing/driver_queue.h"
#include "virtio/testing/packed_driver_queue.h"
#include "virtio/virtqueue.h"

namespace tapir::virtio {
namespace {

using testing::ChainBuilder;
using testing::DriverEnd;
using testing::DriverQueue;
using testing::PackedDriverQueue;

constexpr std::uint64_t kRings = 0x1000;
constexpr std::uint64_t kBuffers = 0x20000;
constexpr std::uint64_t kBufferBytes = 64;
constexpr std::uint32_t kChains = 100'000;

struct Ring {
  bool packed;
  bool event_index;
};

class VirtqueueLitmus : public ::testing::TestWithParam<Ring> {
 protected:
  /// Sleeps until the event; twenty seconds of silence are the stall that this test is about.
  static bool wait(const EventFd& event) {
    pollfd poll_fd{event.fd(), POLLIN, 0};
    const bool signalled = ::poll(&poll_fd, 1, 20'000) == 1;
    event.clear();
    return signalled;
  }

  static std::unique_ptr<DriverEnd> make_driver(const GuestMemory& memory, std::uint16_t size) {
    const bool event_index = GetParam().event_index;
    if (GetParam().packed) {
      return std::make_unique<PackedDriverQueue>(memory, PackedDriverQueue::place(kRings, size), event_index);
    }
    return std::make_unique<DriverQueue>(memory, DriverQueue::place(kRings, size), event_index);
  }

  void run_device(Virtqueue& queue) {
    std::array<iovec, 16> storage{};
    std::uint32_t served = 0;
    while (served < kChains) {
      queue.disable_kicks();
      while (auto chain = queue.pop(storage)) {
        // Echoes the request, so that the driver can tell an early index from a right one.
        std::memcpy(chain->writable()[0].iov_base, chain->readable()[0].iov_base, sizeof(std::uint32_t));
        queue.add_used(*std::move(chain), sizeof(std::uint32_t));
        ++served;
        if (served % 3 == 0) {
          queue.publish_used();
          notify(queue);
        }
      }
      queue.publish_used();
      notify(queue);
      if (queue.broken() || (!queue.enable_kicks() && served < kChains && !wait(kick_))) {
        break;
      }
    }
    served_ = served;
    interrupt_.signal();
  }

  void notify(Virtqueue& queue) {
    if (queue.needs_notification()) {
      interrupt_.signal();
      ++interrupts_;
    }
  }

  EventFd kick_ = *EventFd::create();
  EventFd interrupt_ = *EventFd::create();
  std::atomic<std::uint32_t> served_{0};
  std::uint64_t interrupts_ = 0;
};

// VQ-07, VQ-08, C27
TEST_P(VirtqueueLitmus, NoChainIsLostDoubledOrSeenEarly) {
  const GuestMemory memory = *GuestMemory::create(1024 * 1024);
  const std::uint16_t size = 32;
  const auto end = make_driver(memory, size);
  DriverEnd& driver = *end;
  Virtqueue queue = *Virtqueue::create(memory, driver.layout(),
                                       std::uint64_t{GetParam().event_index} << VIRTIO_RING_F_EVENT_IDX |
                                           std::uint64_t{GetParam().packed} << VIRTIO_F_RING_PACKED);
  std::thread device([&] { run_device(queue); });

  std::uint32_t sent = 0;
  std::uint32_t taken = 0;
  std::array<std::uint32_t, size> expected{};
  bool stalled = false;
  while (taken < kChains && !stalled) {
    driver.disable_interrupts();
    while (sent < kChains && driver.free_descriptors() >= 2) {
      const std::uint64_t request = kBuffers + sent % size * kBufferBytes;
      const std::uint64_t answer = request + 0x4000;
      ASSERT_TRUE(memory.write_object(GuestAddress{request}, sent));
      const auto head = driver.add(ChainBuilder().readable(request, 4).writable(answer, 8));
      expected[*head] = sent++;
      if (driver.publish()) {
        kick_.signal();
      }
    }
    while (const auto used = driver.take_used()) {
      const std::uint64_t answer = kBuffers + expected[used->head] % size * kBufferBytes + 0x4000;
      ASSERT_EQ(used->bytes, 4U);
      ASSERT_EQ(memory.read_object<std::uint32_t>(GuestAddress{answer}), expected[used->head]);
      ++taken;
    }
    const bool may_send = sent < kChains && driver.free_descriptors() >= 2;
    if (taken < kChains && !may_send && !driver.enable_interrupts()) {
      stalled = !wait(interrupt_);
    }
  }
  device.join();
  EXPECT_FALSE(stalled) << "stuck after " << taken << " chains";
  EXPECT_EQ(taken, kChains);
  EXPECT_EQ(served_.load(), kChains);
  EXPECT_FALSE(queue.broken()) << queue.broken_because();
  EXPECT_LT(interrupts_, kChains) << "notifications were not suppressed at all";
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtqueueLitmus,
                         ::testing::Values(Ring{false, false}, Ring{false, true}, Ring{true, false},
                                           Ring{true, true}),
                         [](const auto& param_info) {
                           return std::string(param_info.param.packed ? "Packed" : "Split") +
                                  (param_info.param.event_index ? "WithEventIndex" : "");
                         });

}  // namespace
}  // namespace tapir::virtio
