// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "net/offload.h"
#include "net/testing/fake_frame_io.h"
#include "virtio/net_device.h"
#include "virtio/net_features.h"
#include "virtio/testing/net_driver.h"

namespace tapir::virtio::testing {

constexpr net::MacAddress kTestMac{{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}};

constexpr std::uint64_t feature(unsigned number) {
  return std::uint64_t{1} << number;
}

/// Bytes that tell where they belong.
inline std::vector<std::byte> pattern(std::size_t bytes, unsigned seed = 0) {
  std::vector<std::byte> frame(bytes);
  for (std::size_t i = 0; i < bytes; ++i) {
    frame[i] = static_cast<std::byte>((i * 7 + i / 256 + seed) & 0xFFU);
  }
  return frame;
}

/// The frame as a backend with a vnet header carries it.
inline std::vector<std::byte> with_header(const net::VnetHeader& header,
                                          const std::vector<std::byte>& frame) {
  const auto bytes = std::as_bytes(std::span(&header, 1));
  std::vector<std::byte> result(bytes.size() + frame.size());
  std::copy(frame.begin(), frame.end(), std::copy(bytes.begin(), bytes.end(), result.begin()));
  return result;
}

inline net::VnetHeader make_header(std::uint8_t flags, std::uint8_t gso_type, std::uint16_t gso_size = 0,
                                   std::uint16_t csum_start = 0, std::uint16_t csum_offset = 0,
                                   std::uint16_t hdr_len = 0) {
  net::VnetHeader header{};
  header.flags = flags;
  header.gso_type = gso_type;
  header.gso_size = gso_size;
  header.csum_start = csum_start;
  header.csum_offset = csum_offset;
  header.hdr_len = hdr_len;
  return header;
}

/// ctest runs each suite once for each ring format: packed, and in order, with TAPIR_TEST_RING=packed.
inline NetDeviceOptions options_of_ring() {
  NetDeviceOptions options;
  const char* const ring = std::getenv("TAPIR_TEST_RING");
  if (ring != nullptr && std::string_view(ring) == "packed") {
    options.features_off = 0;
  }
  return options;
}

/// A network device over an in-memory host end.
class NetDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override { make_device({true, net::kAllTunOffloads, 1500}); }
  void TearDown() override {
    device_.reset();
    io_thread_.reset();
  }

  void make_device(const net::FrameIoFeatures& host, const NetDeviceOptions& options = options_of_ring()) {
    device_.reset();
    io_thread_.reset();
    auto io = std::make_unique<net::testing::FakeFrameIo>(host);
    io_ = io.get();
    auto io_thread = IoThread::start(std::move(io), "io-test");
    ASSERT_TRUE(io_thread) << io_thread.error().message();
    io_thread_ = *std::move(io_thread);
    device_ = std::make_unique<NetDevice>(kTestMac, std::vector{io_thread_.get()}, options);
  }

  /// Activates with everything offered except `without`.
  void activate(std::uint64_t without = 0, std::uint16_t queue_size = 256) {
    const std::uint64_t features = device_->features() & ~without;
    ASSERT_TRUE(device_->accepts(features));
    driver_.emplace(memory_, features, queue_size);
    const Status status = device_->activate(driver_->activation());
    ASSERT_TRUE(status) << status.error().message();
  }

  /// Waits for what the I/O thread does; false when that takes more than 10 s.
  bool wait_for(const std::function<bool()>& done) const { return driver_->notifier().wait_until(done); }

  /// The lengths of the next `count` chains that come back; fewer if they do not come in 10 s.
  std::vector<std::uint32_t> take_used(DriverEnd& queue, std::size_t count) const {
    std::vector<std::uint32_t> used_bytes;
    wait_for([&] {
      while (const auto used = queue.take_used()) {
        used_bytes.push_back(used->bytes);
      }
      return used_bytes.size() >= count;
    });
    return used_bytes;
  }

  const NetQueueCounters& received() const { return device_->counters().receive; }
  const NetQueueCounters& sent() const { return device_->counters().transmit; }

  GuestMemory memory_ = *GuestMemory::create(NetDriver::kMemoryBytes);
  net::testing::FakeFrameIo* io_ = nullptr;
  std::unique_ptr<IoThread> io_thread_;
  std::unique_ptr<NetDevice> device_;
  std::optional<NetDriver> driver_;
};

/// Everything that needs GUEST_CSUM, with it.
inline constexpr std::uint64_t kGuestOffloads =
    feature(VIRTIO_NET_F_GUEST_CSUM) | feature(VIRTIO_NET_F_GUEST_TSO4) | feature(VIRTIO_NET_F_GUEST_TSO6) |
    feature(VIRTIO_NET_F_GUEST_ECN) | feature(VIRTIO_NET_F_GUEST_USO4) | feature(VIRTIO_NET_F_GUEST_USO6);
/// Everything that needs CSUM, with it.
inline constexpr std::uint64_t kHostOffloads =
    feature(VIRTIO_NET_F_CSUM) | feature(VIRTIO_NET_F_HOST_TSO4) | feature(VIRTIO_NET_F_HOST_TSO6) |
    feature(VIRTIO_NET_F_HOST_ECN) | feature(VIRTIO_NET_F_HOST_USO);

}  // namespace tapir::virtio::testing
