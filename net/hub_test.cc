// SPDX-License-Identifier: Apache-2.0
// Hubs of fake taps, which are sockets, and of real ones.
#include "net/hub.h"

#include <gmock/gmock.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/frame_io_factory.h"
#include "net/offload.h"
#include "net/tap.h"
#include "net/testing/frame_link.h"
#include "net/testing/network_namespace.h"
#include "net/vnet_header.h"

namespace tapir::net {
namespace {

using net::testing::Frame;
using net::testing::make_frame;
using net::testing::PacketSocket;

Frame without_header(const Frame& frame) {
  return {frame.begin() + kVnetHeaderBytes, frame.end()};
}

// A frame whose checksum somebody else is to fill in.
Frame unfinished_frame() {
  Frame frame = make_frame(100, 1);
  VnetHeader header{};
  header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  header.csum_start = 14 + 20;
  header.csum_offset = 16;
  std::memcpy(frame.data(), &header, sizeof header);
  return frame;
}

std::uint8_t flags_of(const Frame& frame) {
  VnetHeader header{};
  std::memcpy(&header, frame.data(), sizeof header);
  return header.flags;
}

bool send(int fd, const Frame& frame) {
  return ::write(fd, frame.data(), frame.size()) == static_cast<ssize_t>(frame.size());
}

// The next frame; nothing if there is none in `milliseconds`.
std::optional<Frame> receive(int fd, int milliseconds = 2000) {
  pollfd readable{fd, POLLIN, 0};
  Frame frame(kMaxReceiveBytes);
  const ssize_t size = ::poll(&readable, 1, milliseconds) == 1 ? ::read(fd, frame.data(), frame.size()) : -1;
  if (size <= 0) {
    return std::nullopt;
  }
  frame.resize(static_cast<std::size_t>(size));
  return frame;
}

class HubTest : public ::testing::Test {
 protected:
  void SetUp() override { std::signal(SIGPIPE, SIG_IGN); }

  /// Something like a tap, whose other end is fakes_[its number].
  FramePort fake_tap(const FrameIoFeatures& features) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    fakes_.emplace_back(ends[0]);
    FramePort port;
    port.fd = UniqueFd(ends[1]);
    port.features = features;
    return port;
  }
  void make_hub(const std::vector<FrameIoFeatures>& taps, std::size_t nics) {
    std::vector<FramePort> ports;
    ports.reserve(taps.size());
    for (const FrameIoFeatures& features : taps) {
      ports.push_back(fake_tap(features));
    }
    make_hub(std::move(ports), nics);
  }
  void make_hub(std::vector<FramePort> taps, std::size_t nics) {
    auto hub = Hub::create("hub0", std::move(taps), nics);
    ASSERT_TRUE(hub) << hub.error().message();
    hub_ = std::move(*hub);
    nics_ = hub_->take_nic_ports();
    ASSERT_EQ(nics_.size(), nics);
    ASSERT_TRUE(hub_->start());
  }
  int fake(std::size_t number) const { return fakes_[number].get(); }
  int nic(std::size_t number) const { return nics_[number].fd.get(); }

  std::vector<UniqueFd> fakes_;
  std::vector<FramePort> nics_;
  std::unique_ptr<Hub> hub_;
};

constexpr FrameIoFeatures kPlainTap{false, 0, 1500};
constexpr FrameIoFeatures kFullTap{true, kAllTunOffloads, 9000};

TEST_F(HubTest, EveryFrameGoesToAllOtherPorts) {
  make_hub({kPlainTap, kPlainTap}, 2);
  const std::vector<int> ports{fake(0), fake(1), nic(0), nic(1)};
  for (std::size_t from = 0; from < ports.size(); ++from) {
    const Frame frame = without_header(make_frame(500 + from, static_cast<unsigned>(from)));
    ASSERT_TRUE(send(ports[from], frame));
    for (std::size_t to = 0; to < ports.size(); ++to) {
      if (to != from) {
        EXPECT_EQ(receive(ports[to]), frame) << from << " to " << to;
      }
    }
  }
  for (std::size_t port = 0; port < ports.size(); ++port) {
    EXPECT_EQ(receive(ports[port], 0), std::nullopt);
    EXPECT_EQ(hub_->counters(port).received, 1U);
    EXPECT_EQ(hub_->counters(port).sent, 3U);
    EXPECT_EQ(hub_->counters(port).dropped, 0U);
  }
}

TEST_F(HubTest, OrderAndLargestFramesAreKept) {
  make_hub({kPlainTap}, 2);
  for (unsigned round = 0; round < 200; ++round) {
    const Frame frame = without_header(make_frame(round % 2 == 0 ? kMaxReceiveBytes : kMinFrameBytes, round));
    ASSERT_TRUE(send(nic(0), frame));
    ASSERT_EQ(receive(fake(0)), frame);
    ASSERT_EQ(receive(nic(1)), frame);
  }
}

TEST_F(HubTest, OneNicAndTapsWithVnetHeadersCarryWhatAllTapsCan) {
  make_hub({kFullTap, {true, kTunOffloadsBeforeUso, 1400}}, 1);
  EXPECT_TRUE(nics_[0].features.vnet_header);
  EXPECT_EQ(nics_[0].features.offloads, kTunOffloadsBeforeUso);
  EXPECT_EQ(nics_[0].features.mtu, 1400);
  EXPECT_FALSE(nics_[0].is_tap);
  const Frame frame = unfinished_frame();
  ASSERT_TRUE(send(nic(0), frame));
  EXPECT_EQ(receive(fake(0)), frame);
  EXPECT_EQ(receive(fake(1)), frame);
}

TEST_F(HubTest, OffloadsThatOnePortCannotCarryAreNotThere) {
  make_hub({kFullTap, kPlainTap}, 1);
  EXPECT_FALSE(nics_[0].features.vnet_header);
  EXPECT_EQ(nics_[0].features.offloads, 0U);
  make_hub({kFullTap, kFullTap}, 2);
  EXPECT_EQ(nics_[0].features.offloads, 0U);
  EXPECT_EQ(nics_[1].features.mtu, 9000);
  make_hub(std::vector<FrameIoFeatures>(), 1);
  EXPECT_EQ(nics_[0].features.offloads, 0U);
  EXPECT_EQ(nics_[0].features.mtu, 0);
}

TEST_F(HubTest, VnetHeadersComeAndGoBetweenUnlikePorts) {
  make_hub({kFullTap, kPlainTap}, 1);
  const Frame frame = make_frame(300, 7);
  ASSERT_TRUE(send(fake(0), frame));
  EXPECT_EQ(receive(fake(1)), without_header(frame));
  EXPECT_EQ(receive(nic(0)), without_header(frame));
  ASSERT_TRUE(send(nic(0), without_header(frame)));
  EXPECT_EQ(receive(fake(0)), frame);
  EXPECT_EQ(receive(fake(1)), without_header(frame));
}

TEST_F(HubTest, UnusableFramesAreDroppedAndCounted) {
  make_hub({kFullTap, kPlainTap}, 1);
  ASSERT_TRUE(send(fake(0), unfinished_frame()));  // nobody here can finish it
  ASSERT_TRUE(send(fake(0), make_frame(kMaxReceiveBytes + 1, 1)));
  ASSERT_TRUE(send(nic(0), Frame(13)));
  const Frame good = make_frame(60, 2);
  ASSERT_TRUE(send(fake(0), good));
  EXPECT_EQ(receive(nic(0)), without_header(good));
  ASSERT_TRUE(send(nic(0), without_header(good)));
  EXPECT_EQ(receive(fake(0)), good);
  EXPECT_EQ(hub_->counters(0).dropped, 2U);
  EXPECT_EQ(hub_->counters(2).dropped, 1U);
}

TEST_F(HubTest, ASlowPortLosesFramesAndTheOthersDoNot) {
  make_hub({kPlainTap}, 2);
  const Frame frame = without_header(make_frame(60000, 3));
  for (unsigned i = 0; i < 500; ++i) {
    ASSERT_TRUE(send(fake(0), frame));
    ASSERT_EQ(receive(nic(0)), frame);
  }
  const Hub::Counters slow = hub_->counters(2);
  EXPECT_GT(slow.dropped, 0U);
  // What it did get waits for it.
  std::uint64_t waiting = 0;
  while (receive(nic(1), 0)) {
    ++waiting;
  }
  EXPECT_GT(waiting, 0U);
  ASSERT_TRUE(send(fake(0), frame));
  EXPECT_EQ(receive(nic(1)), frame);
}

TEST_F(HubTest, OtherPortsGoOnWhenOneIsGoneAndTheThreadSleeps) {
  make_hub({kPlainTap, kPlainTap}, 1);
  fakes_[0].reset();
  const Frame frame = without_header(make_frame(100, 4));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(send(fake(1), frame));
    EXPECT_EQ(receive(nic(0)), frame);
  }
  const std::uint64_t waits = hub_->waits();
  EXPECT_EQ(receive(nic(0), 200), std::nullopt);
  EXPECT_LE(hub_->waits(), waits + 1);
}

TEST_F(HubTest, ANicAloneMaySendForEver) {
  make_hub(std::vector<FrameIoFeatures>(), 1);
  const Frame frame = without_header(make_frame(1000, 5));
  for (unsigned sent = 0; sent < 2000;) {
    pollfd writable{nic(0), POLLOUT, 0};
    ASSERT_EQ(::poll(&writable, 1, 2000), 1);
    sent += send(nic(0), frame) ? 1 : 0;
  }
  EXPECT_EQ(receive(nic(0), 0), std::nullopt);
}

class HubTapTest : public HubTest {
 protected:
  void SetUp() override {
    HubTest::SetUp();
    TAPIR_ENTER_NETWORK_NAMESPACE();
    for (const char* name : {"t0", "t1"}) {
      auto tap = Tap::open(name, {});
      ASSERT_TRUE(tap) << tap.error().message();
      taps_.push_back(std::move(*tap).into_port());
      auto host = PacketSocket::open(name);
      ASSERT_TRUE(host) << host.error().message();
      hosts_.push_back(std::move(*host));
    }
  }

  std::vector<FramePort> taps_;
  std::vector<PacketSocket> hosts_;
};

TEST_F(HubTapTest, FramesPassBetweenTapsAndNics) {
  make_hub(std::move(taps_), 2);
  const Frame frame = make_frame(200, 1);
  ASSERT_TRUE(hosts_[0].send(frame));
  EXPECT_EQ(hosts_[1].receive(), frame);
  EXPECT_EQ(receive(nic(0)), without_header(frame));
  EXPECT_EQ(receive(nic(1)), without_header(frame));
  ASSERT_TRUE(send(nic(1), without_header(frame)));
  EXPECT_EQ(hosts_[0].receive(), frame);
  EXPECT_EQ(hosts_[1].receive(), frame);
  EXPECT_EQ(receive(nic(0)), without_header(frame));
}

TEST_F(HubTapTest, TapsAreToldWhatTheDriverOfTheOneNicTakes) {
  make_hub(std::move(taps_), 1);
  ASSERT_NE(nics_[0].features.offloads & TUN_F_CSUM, 0U);
  const int fd = nic(0);
  auto engine = make_frame_io(std::move(nics_[0]), EngineChoice::kSync);
  ASSERT_TRUE(engine) << engine.error().message();
  HubFrameIo io(std::move(*engine), *hub_);
  for (const unsigned offloads : {unsigned{TUN_F_CSUM}, 0U}) {
    ASSERT_TRUE(io.set_offloads(offloads));
    for (const PacketSocket& host : hosts_) {
      ASSERT_TRUE(host.send(unfinished_frame()));
      const auto frame = receive(fd);
      ASSERT_TRUE(frame);
      EXPECT_EQ(flags_of(*frame) & VIRTIO_NET_HDR_F_NEEDS_CSUM,
                offloads != 0 ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
    }
  }
  EXPECT_FALSE(io.set_offloads(0x8000));
}

TEST_F(HubTapTest, ADeletedTapIsToldOfAndLeftAlone) {
  make_hub(std::move(taps_), 1);
  ::testing::internal::CaptureStderr();
  ASSERT_TRUE(net::testing::delete_link("t0"));
  const Frame frame = make_frame(100, 1);
  ASSERT_TRUE(hosts_[1].send(frame));
  EXPECT_EQ(receive(nic(0)), frame);
  hub_.reset();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "tapir: warning: a tap of hub0 was deleted; the other ports go on\n");
}

TEST_F(HubTapTest, ATapThatIsDownLosesFramesOnly) {
  make_hub(std::move(taps_), 1);
  ASSERT_TRUE(net::testing::set_link_up("t0", false));
  const Frame frame = make_frame(100, 1);
  ASSERT_TRUE(send(nic(0), frame));
  EXPECT_EQ(hosts_[1].receive(), frame);
  EXPECT_EQ(hub_->counters(0).dropped, 1U);
  ASSERT_TRUE(net::testing::set_link_up("t0", true));
  const auto host = PacketSocket::open("t0");  // the old one would tell of the link first
  ASSERT_TRUE(host);
  ASSERT_TRUE(send(nic(0), frame));
  EXPECT_EQ(host->receive(), frame);
}

}  // namespace
}  // namespace tapir::net
