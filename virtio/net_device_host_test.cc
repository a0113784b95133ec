// SPDX-License-Identifier: Apache-2.0
// The network device on both engines, over every kind of host end: a socket pair and a real tap in a
// network namespace of its own. The driver is in this process.
#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <array>
#include <cstring>
#include <memory>
#include <numeric>
#include <tuple>

#include "net/frame_io_factory.h"
#include "net/tap.h"
#include "net/testing/engines.h"
#include "net/testing/frame_link.h"
#include "net/testing/network_namespace.h"
#include "virtio/net_device.h"
#include "virtio/testing/net_device_fixture.h"

namespace tapir::virtio {
namespace {

using net::testing::FrameLink;
using net::testing::make_frame;
using testing::feature;
using testing::kGuestOffloads;
using testing::make_header;
using testing::NetDriver;
using testing::with_header;

/// The frame of make_frame() without its header.
std::vector<std::byte> frame_of(std::size_t bytes, unsigned seed) {
  auto frame = make_frame(bytes + net::kVnetHeaderBytes, seed);
  frame.erase(frame.begin(), frame.begin() + net::kVnetHeaderBytes);
  return frame;
}

class HostEnd : public ::testing::Test {
 protected:
  void TearDown() override {
    device_.reset();
    io_thread_.reset();
  }

  void make_device(net::FramePort port, net::EngineChoice engine) {
    auto io = net::make_frame_io(std::move(port), engine);
    ASSERT_TRUE(io) << io.error().message();
    auto io_thread = IoThread::start(*std::move(io), "io-test");
    ASSERT_TRUE(io_thread) << io_thread.error().message();
    io_thread_ = *std::move(io_thread);
    device_ = std::make_unique<NetDevice>(testing::kTestMac, std::vector{io_thread_.get()});
  }
  /// With everything offered except `without`, and except MTU: frames may be as long as the interface
  /// carries.
  void activate(std::uint64_t without = 0) {
    const std::uint64_t features = device_->features() & ~without & ~feature(VIRTIO_NET_F_MTU);
    ASSERT_TRUE(device_->accepts(features));
    driver_.emplace(memory_, features);
    const Status status = device_->activate(driver_->activation());
    ASSERT_TRUE(status) << status.error().message();
  }

  GuestMemory memory_ = *GuestMemory::create(NetDriver::kMemoryBytes);
  std::unique_ptr<IoThread> io_thread_;
  std::unique_ptr<NetDevice> device_;
  std::optional<NetDriver> driver_;
};

struct LinkKind {
  const char* name;
  bool needs_namespace;
  Result<std::unique_ptr<FrameLink>> (*create)();
};

class NetDeviceOnHostEnd : public HostEnd,
                           public ::testing::WithParamInterface<std::tuple<net::testing::Engine, LinkKind>> {
 protected:
  void SetUp() override {
    const auto& [engine, kind] = GetParam();
    TAPIR_NEEDS_ENGINE(engine);
    if (kind.needs_namespace) {
      TAPIR_ENTER_NETWORK_NAMESPACE();
    }
    auto link = kind.create();
    ASSERT_TRUE(link) << link.error().message();
    link_ = *std::move(link);
    make_device(link_->take_port(), engine.choice);
  }
  void TearDown() override {
    HostEnd::TearDown();
    link_.reset();
  }

  std::unique_ptr<FrameLink> link_;
};

// C91, C98: what the driver sent is on the wire as it was, checksums that nobody asked for untouched.
TEST_P(NetDeviceOnHostEnd, CarriesFramesOfEverySizeBothWays) {
  activate();
  driver_->post(256, 4096);
  unsigned seed = 0;
  for (const std::size_t bytes : {14U, 60U, 500U, 513U, 1514U, 4000U, 9014U, 65000U}) {
    ASSERT_TRUE(driver_->send({}, frame_of(bytes, ++seed)));
    const auto sent = link_->receive();
    ASSERT_TRUE(sent) << bytes;
    EXPECT_EQ(*sent, with_header({}, frame_of(bytes, seed))) << bytes;

    ASSERT_TRUE(link_->send(with_header({}, frame_of(bytes, ++seed))));
    const auto received = driver_->wait_for_frame();
    ASSERT_TRUE(received) << bytes;
    EXPECT_EQ(received->frame, frame_of(bytes, seed)) << bytes;
    EXPECT_EQ(received->header.num_buffers, (bytes + 12 + 4095) / 4096) << bytes;
    driver_->post(256, 4096);
  }
  ASSERT_TRUE(driver_->wait_until_sent());
}

// NET-14: without mergeable buffers nothing is cut, whatever the engine has already read.
TEST_P(NetDeviceOnHostEnd, FrameThatDoesNotFitIsDroppedNeverCut) {
  activate(feature(VIRTIO_NET_F_MRG_RXBUF) | kGuestOffloads);
  driver_->post(16, 1526);
  ASSERT_TRUE(link_->send(with_header({}, frame_of(9014, 1))));
  ASSERT_TRUE(link_->send(with_header({}, frame_of(1514, 2))));
  const auto received = driver_->wait_for_frame();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->frame, frame_of(1514, 2));
  EXPECT_EQ(received->header.num_buffers, 1);
}

// NET-02: a large frame is held while the driver has posted too little for it.
TEST_P(NetDeviceOnHostEnd, FrameWaitsUntilThereAreEnoughBuffers) {
  activate();
  for (unsigned round = 0; round < 20; ++round) {
    driver_->post(2, 4096);
    ASSERT_TRUE(link_->send(with_header({}, frame_of(16000, round))));
    driver_->post(2, 4096);
    const auto received = driver_->wait_for_frame();
    ASSERT_TRUE(received) << round;
    EXPECT_EQ(received->frame, frame_of(16000, round));
  }
}

// RST-01, TR-14: resets under traffic, then traffic.
TEST_P(NetDeviceOnHostEnd, WorksAgainAfterResetsUnderTraffic) {
  for (unsigned round = 0; round < 30; ++round) {
    activate(round % 2 == 0 ? 0 : kGuestOffloads);
    driver_->post(64, 2048);
    for (unsigned i = 0; i < 10; ++i) {
      driver_->send({}, frame_of(200, i));
      ASSERT_TRUE(link_->send(with_header({}, frame_of(200, i))));
    }
    device_->reset();
    while (round == 29 && link_->receive()) {
    }
  }
  activate();
  driver_->post(64, 2048);
  ASSERT_TRUE(driver_->send({}, frame_of(300, 99)));
  ASSERT_TRUE(driver_->wait_until_sent());
  EXPECT_EQ(link_->receive(), with_header({}, frame_of(300, 99)));
  ASSERT_TRUE(link_->send(with_header({}, frame_of(300, 98))));
  const auto received = driver_->wait_for_frame();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->frame, frame_of(300, 98));
}

// FLT-01
TEST_P(NetDeviceOnHostEnd, LinkGoesDownWhenTheHostEndIsGone) {
  activate();
  driver_->post(16, 2048);
  link_->remove();
  ASSERT_TRUE(driver_->notifier().wait_until([this] { return !device_->link_up(); }));
  ASSERT_TRUE(driver_->send({}, frame_of(60, 1)));
  EXPECT_TRUE(driver_->wait_until_sent());
  EXPECT_EQ(device_->counters().transmit.dropped.get(), 1U);
  EXPECT_EQ(driver_->notifier().config_notifications(), 1U);
  // The next driver finds the link down, too, and its frames do not stay.
  device_->reset();
  activate();
  ASSERT_TRUE(driver_->notifier().wait_until([this] { return !device_->link_up(); }));
  ASSERT_TRUE(driver_->send({}, frame_of(60, 2)));
  EXPECT_TRUE(driver_->wait_until_sent());
}

constexpr std::array<LinkKind, 2> kLinkKinds{{
    {"socketpair", false, net::testing::make_socket_link},
    {"tap", true, net::testing::make_tap_link},
}};
// The deadline of an interrupt that waits is one of the engine's sleep.
TEST_P(NetDeviceOnHostEnd, InterruptThatWaitsComesAtItsDeadline) {
  activate(feature(VIRTIO_RING_F_EVENT_IDX));
  driver_->post(256, 4096);
  const auto coalesce = [this](std::uint32_t max_packets, std::uint32_t max_usecs) {
    const std::array<std::uint32_t, 2> words{max_packets, max_usecs};
    return driver_->command(VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET,
                            std::as_bytes(std::span(words)));
  };
  const auto delivered = [this] { return device_->counters().receive.frames.get(); };
  const auto interrupts = [this] { return driver_->notifier().queue_notifications(0); };
  ASSERT_EQ(coalesce(10'000, 60'000'000), std::uint8_t{VIRTIO_NET_OK});
  const unsigned before = interrupts();
  for (unsigned i = 0; i < 20; ++i) {
    ASSERT_TRUE(link_->send(with_header({}, frame_of(100, i))));
  }
  ASSERT_TRUE(driver_->notifier().wait_until([&] { return delivered() >= 20; }));
  EXPECT_EQ(interrupts(), before);
  ASSERT_EQ(coalesce(10'000, 1000), std::uint8_t{VIRTIO_NET_OK});
  EXPECT_TRUE(driver_->notifier().wait_until([&] { return interrupts() > before; }));
  const unsigned between = interrupts();
  ASSERT_TRUE(link_->send(with_header({}, frame_of(100, 1))));
  EXPECT_TRUE(driver_->notifier().wait_until([&] { return interrupts() > between; }));
}

INSTANTIATE_TEST_SUITE_P(Engines, NetDeviceOnHostEnd,
                         ::testing::Combine(::testing::ValuesIn(net::testing::kEngines),
                                            ::testing::ValuesIn(kLinkKinds)),
                         [](const auto& param_info) {
                           return std::string(std::get<0>(param_info.param).name) + "_" +
                                  std::get<1>(param_info.param).name;
                         });

/// The sum that the Internet checksum is made of.
std::uint32_t sum_words(std::span<const std::byte> bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    sum += std::to_integer<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8U : 0U);
  }
  return sum;
}

std::uint16_t fold(std::uint32_t sum) {
  while (sum > 0xFFFF) {
    sum = (sum & 0xFFFFU) + (sum >> 16U);
  }
  return static_cast<std::uint16_t>(sum);
}

void put16(std::vector<std::byte>& frame, std::size_t at, std::uint16_t value) {
  frame[at] = static_cast<std::byte>(value >> 8U);
  frame[at + 1] = static_cast<std::byte>(value & 0xFFU);
}

/// Ethernet, IPv4 and UDP with this much payload, its checksum left to the host: only the pseudo header's
/// sum.
std::vector<std::byte> udp_frame(std::size_t payload) {
  std::vector<std::byte> frame = frame_of(42 + payload, 5);
  constexpr std::array<std::uint8_t, 34> kHeaders{
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x08, 0x00, 0x45, 0, 0,
      0,    0,    0,    0,    0,    64,   17,   0,    0, 10,   0,    0,    2,    10,   0,    0, 1};
  std::transform(kHeaders.begin(), kHeaders.end(), frame.begin(),
                 [](std::uint8_t byte) { return std::byte{byte}; });
  const auto udp_bytes = static_cast<std::uint16_t>(8 + payload);
  put16(frame, 16, static_cast<std::uint16_t>(20 + udp_bytes));
  put16(frame, 24, static_cast<std::uint16_t>(~fold(sum_words(std::span(frame).subspan(14, 20)))));
  put16(frame, 34, 1000);
  put16(frame, 36, 2000);
  put16(frame, 38, udp_bytes);
  put16(frame, 40, fold(sum_words(std::span(frame).subspan(26, 8)) + 17 + udp_bytes));
  return frame;
}

/// USO needs Linux 6.2 for the tap; Debian's 6.1 driver has none, so the driver is ours.
class UsoOnTap : public HostEnd {
 protected:
  void SetUp() override {
    TAPIR_ENTER_NETWORK_NAMESPACE();
    auto tap = net::Tap::open("uso0", {});
    ASSERT_TRUE(tap) << tap.error().message();
    const unsigned uso = TUN_F_USO4 | TUN_F_USO6;
    if ((tap->features().offloads & uso) != uso) {
      GTEST_SKIP() << "the tap of this kernel has no UDP segmentation offload (Linux 6.2)";
    }
    auto socket = net::testing::PacketSocket::open("uso0");
    ASSERT_TRUE(socket) << socket.error().message();
    socket_.emplace(*std::move(socket));
    make_device(std::move(*tap).into_port(), net::EngineChoice::kAuto);
  }
  void TearDown() override {
    HostEnd::TearDown();
    socket_.reset();
  }

  std::optional<net::testing::PacketSocket> socket_;
  const net::VnetHeader uso_ =
      make_header(VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP_L4, 1000, 34, 6, 42);
};

TEST_F(UsoOnTap, HostGetsOneFrameToCutIntoDatagrams) {
  ASSERT_TRUE(has_feature(device_->features(), VIRTIO_NET_F_HOST_USO));
  activate();
  const auto frame = udp_frame(10'500);
  ASSERT_TRUE(driver_->send(uso_, frame));
  ASSERT_TRUE(driver_->wait_until_sent());
  EXPECT_EQ(device_->counters().transmit.frames.get(), 1U);
  const auto seen = socket_->receive();
  ASSERT_TRUE(seen);
  const auto header =
      net::copy_vnet_header(std::array{iovec{const_cast<std::byte*>(seen->data()), seen->size()}});
  EXPECT_EQ(header->gso_type, VIRTIO_NET_HDR_GSO_UDP_L4);
  EXPECT_EQ(header->gso_size, 1000);
  EXPECT_EQ(std::vector<std::byte>(seen->begin() + net::kVnetHeaderBytes, seen->end()), frame);
}

TEST_F(UsoOnTap, DriverThatAcceptedUsoGetsOneFrame) {
  ASSERT_TRUE(has_feature(device_->features(), VIRTIO_NET_F_GUEST_USO4));
  activate();
  driver_->post(256, 4096);
  ASSERT_TRUE(socket_->send(with_header(uso_, udp_frame(10'500))));
  const auto received = driver_->wait_for_frame();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->header.gso_type, VIRTIO_NET_HDR_GSO_UDP_L4);
  EXPECT_EQ(received->header.gso_size, 1000);
  EXPECT_EQ(received->frame.size(), 42 + 10'500U);
}

// C106: the kernel cuts it for a driver that did not accept.
TEST_F(UsoOnTap, DriverThatDidNotAcceptUsoGetsDatagrams) {
  activate(kGuestOffloads);
  driver_->post(256, 4096);
  ASSERT_TRUE(socket_->send(with_header(uso_, udp_frame(10'500))));
  std::vector<std::size_t> payloads;
  for (unsigned i = 0; i < 11; ++i) {
    const auto received = driver_->wait_for_frame();
    ASSERT_TRUE(received) << i;
    EXPECT_EQ(received->header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
    EXPECT_EQ(received->header.flags, 0);
    payloads.push_back(received->frame.size() - 42);
  }
  std::vector<std::size_t> expected(10, 1000);
  expected.push_back(500);
  EXPECT_EQ(payloads, expected);
}

}  // namespace
}  // namespace tapir::virtio
